"""A PostgreSQL whose transactions wait at a named point."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from tests.support.program import wait_for

PUBLISHES = "OLD.publication_no IS NULL AND NEW.publication_no IS NOT NULL"
_WAITING = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@contextmanager
def halted(
    url: str, table: str, when: str = "true", *, event: str = "INSERT OR UPDATE"
) -> Iterator[Callable[[], int]]:
    """Transactions of a worker wait where they write such a row, as long as this lasts.

    Yields:
        Waits until one does; the process id of its backend.
    """
    event = "UPDATE" if when == PUBLISHES else event
    key = f"hashtext('{table}')"
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute(
            f"CREATE OR REPLACE FUNCTION {table}_halt() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN PERFORM pg_advisory_xact_lock_shared({key}); RETURN COALESCE(NEW, OLD); END $$"
        )
        holder.execute(
            f"CREATE OR REPLACE TRIGGER halt BEFORE {event} ON {table} FOR EACH ROW "
            f"WHEN ({when}) EXECUTE FUNCTION {table}_halt()"
        )
        holder.execute(f"SELECT pg_advisory_lock({key})")

        def wait_for_one() -> int:
            (pid,) = wait_for(lambda: holder.execute(_WAITING).fetchone(), f"a write to {table}")
            return int(pid)

        yield wait_for_one
