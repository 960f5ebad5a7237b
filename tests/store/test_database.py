"""How long a transaction is tried again."""

import sqlite3
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import text

from tests.support.clock import FakeRuntime
from tests.support.store_world import world_on
from worker.errors import UnavailableError
from worker.store.database import PATIENCE_S, open_database

LONG_S = 10 * PATIENCE_S


class Publication:
    """A transaction that takes long and loses its connection at the end, so many times."""

    def __init__(self, fake: FakeRuntime, *, faults: int) -> None:
        self.fake = fake
        self.faults = faults
        self.calls = 0

    async def __call__(self, connection) -> int:
        self.calls += 1
        self.fake.advance(LONG_S if self.calls == 1 else 1.0)
        if self.calls <= self.faults:
            raise ConnectionResetError
        return int((await connection.execute(text("SELECT 7"))).scalar_one())


async def test_a_long_transaction_that_fails_once_is_tried_again(tmp_path: Path):
    """The work before the fault was no waiting."""
    fake = FakeRuntime()
    work = Publication(fake, faults=1)
    async with open_database(f"sqlite:///{tmp_path / 'pts.db'}", fake.runtime) as database:
        assert await database.write(work) == 7
    assert work.calls == 2


async def test_an_outage_is_waited_for_once(tmp_path: Path):
    """The first call waits until patience runs out; later calls fail at once."""
    fake = FakeRuntime()
    async with open_database(f"sqlite:///{tmp_path / 'pts.db'}", fake.runtime) as database:
        began_s = fake.monotonic()
        with pytest.raises(UnavailableError):
            await database.write(Publication(fake, faults=1_000))
        assert PATIENCE_S <= fake.monotonic() - began_s - LONG_S < PATIENCE_S + 2
        next_call = Publication(fake, faults=1_000)
        with pytest.raises(UnavailableError):
            await database.write(next_call)
        assert next_call.calls == 0


async def test_sqlite_is_durable_and_carries_its_log_over_seldom(tmp_path: Path):
    """Every connection syncs each commit; its log grows to 20 MB before it is carried over."""

    async def look(connection) -> list[object]:
        return [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint")
        ]

    async with open_database(f"sqlite:///{tmp_path / 'pts.db'}", FakeRuntime().runtime) as database:
        assert await database.read(look) == ["wal", 2, 1, 5_000]


async def test_a_write_that_is_cancelled_is_finished(database_url: str):
    """A stop comes at any time; what a transaction has begun to write is committed."""

    async def work(connection) -> None:
        await connection.execute(text("UPDATE lease SET holder = 'me'"))
        cancelled.cancel()
        await anyio.lowlevel.checkpoint()
        await connection.execute(text("UPDATE lease SET host = 'here'"))

    async with world_on(database_url) as world:
        with anyio.CancelScope() as cancelled:
            await world.database.write(work)
        assert await world.rows("SELECT holder, host FROM lease") == [("me", "here")]


async def test_a_write_keeps_other_writers_out_from_its_first_read(sqlite_url: str):
    """What it has read is still so when it writes: another process waits meanwhile."""

    async def work(connection) -> None:
        await connection.execute(text("SELECT * FROM lease"))
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE lease SET fencing_token = 7")
        other.close()

    async with world_on(sqlite_url) as world:
        await world.database.write(work)


async def test_the_server_dates_each_moment_of_a_transaction(postgresql_url: str):
    """Not its beginning: a lease that a long publication renews lasts from then on."""

    async def work(connection) -> bool:
        before = await world.database.now(connection)
        await connection.execute(text("SELECT pg_sleep(0.01)"))
        return bool(before < await world.database.now(connection))

    async with world_on(postgresql_url) as world:
        assert await world.database.read(work)
