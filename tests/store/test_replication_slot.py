"""An erasure beside a standby: its replication slot keeps erased rows until it moves on."""

import socket
import struct
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.support.databases import data_files_of
from tests.support.store_world import read, world_on
from worker.errors import UnavailableError

GONE, SLOT = "a1b2c3d4e5f6a7b8c9d0", "standby"
PROTOCOL = 196_608


class Standby:
    """The connection of a standby, as far as the feedback that it sends (hot_standby_feedback)."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(folder / ".s.PGSQL.5432"))
        self._file = self._socket.makefile("rb")
        words = b"user\0postgres\0replication\0true\0\0"
        self._socket.sendall(struct.pack("!ii", len(words) + 8, PROTOCOL) + words)
        self._until(b"Z")

    def _send(self, kind: bytes, content: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(content) + 4) + content)

    def _until(self, kind: bytes) -> None:
        while True:
            name, length = self._file.read(1), struct.unpack("!i", self._file.read(4))[0]
            content = self._file.read(length - 4)
            assert name != b"E", content
            if name == kind:
                return

    def hold(self, position: str, xmin: int) -> None:
        """Stream from a position, and tell the server which rows a query still needs."""
        self._send(b"Q", f"START_REPLICATION SLOT {SLOT} PHYSICAL {position}\0".encode())
        self._until(b"W")
        self._send(b"d", b"h" + struct.pack("!qIIII", 0, xmin, 0, 0, 0))

    def close(self) -> None:
        self._file.close()
        self._socket.close()


async def wait_until_held(connection: Any) -> None:
    """Until the server has read the feedback."""
    held = "SELECT xmin IS NOT NULL FROM pg_replication_slots"
    while not await connection.fetchval(held):
        await connection.execute("SELECT pg_sleep(0.01)")


@pytest.mark.promise("8")
async def test_a_replication_slot_keeps_the_bytes(postgresql_url):
    """``erase --rewrite`` does not call itself done while a slot keeps rows; without it, it is."""
    folder = Path(str(make_url(postgresql_url).query["host"]))
    connection = await asyncpg.connect(postgresql_url)
    async with world_on(postgresql_url) as world:
        await world.publish(read(world, GONE, "x"), read(world, "b", "y"))
        await connection.execute(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
        position = await connection.fetchval("SELECT pg_current_wal_lsn()::text")
        oldest = int(await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())"))
        standby = Standby(folder)
        try:
            standby.hold(position, oldest % 2**32)
            await wait_until_held(connection)
            with pytest.raises(UnavailableError, match="still open on the server"):
                await world.erase(GONE, rewrite=True)
        finally:
            standby.close()
            await _drop(connection)
        await world.erase(GONE, rewrite=True)
        assert GONE.encode() not in await data_files_of(postgresql_url)
    await connection.close()


async def _drop(connection: Any) -> None:
    """As soon as the server has seen that the standby is gone."""
    active = "SELECT active FROM pg_replication_slots"
    while await connection.fetchval(active):
        await connection.execute("SELECT pg_sleep(0.01)")
    await connection.execute(f"SELECT pg_drop_replication_slot('{SLOT}')")
