"""Roster from a database query: streamed, in a transaction that is never committed."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import anyio
import asyncpg
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncResult, create_async_engine

from worker.core.database_urls import TLS_PARAMETERS
from worker.errors import ConfigurationError, RosterError, UnavailableError, reason_of
from worker.roster import Columns, RosterLine, find_columns, line_from_values, require_identifier
from worker.tls import PostgresTls, open_tls
from worker.trusted_files import WORLD_WRITE, examine_with_folder

T = TypeVar("T")
_Partitions: TypeAlias = AsyncGenerator[tuple[Columns, Sequence[sa.Row[Any]]], None]

SOURCE: Final = "roster.query"
_KEY: Final = "roster.url"
_ROWS_FETCHED: Final = 512
_COLUMNS_HINT: Final = (
    "name the columns in the query: select … as off_id, … as local_ref, … as cohort"
)
_OUTAGES: Final = ("08", "53", "57P0")
"""SQLSTATE of a lost connection, a full server, and a server that starts or stops."""
_DRIVERS: Final = {"postgresql": "postgresql+asyncpg", "sqlite+aiosqlite": "sqlite"}
"""aiosqlite also uses a thread, but cannot be closed before a long query has ended."""


class QueryRoster:
    """Streams persons from any database that SQLAlchemy supports.

    Without a driver in the URL, PostgreSQL uses asyncpg, and other dialects their default driver. A
    synchronous driver, and any driver for SQLite, runs in a worker thread.

    Args:
        url: SQLAlchemy URL. Its password never appears in messages.
        query: returns ``off_id`` and optionally ``local_ref`` and ``cohort``. Colons are not bind
            parameters.

    Attributes:
        tls: TLS settings for PostgreSQL. None for other databases.
        connection: encryption and verification of the latest PostgreSQL connection.

    Raises:
        ConfigurationError: the URL is invalid or not secure, or its driver is not installed.
    """

    def __init__(self, url: str, query: str, *, ca_file: Path | None = None) -> None:
        self._url = _parse(url)
        is_postgres = self._url.get_backend_name() == "postgresql"
        self.tls = open_tls(self._url, key=_KEY, ca_file=ca_file) if is_postgres else None
        self.connection = ""
        self.unknown_columns: Sequence[str] = ()
        # SQLAlchemy reads a colon as a bind parameter. In a query it is part of a time or a cast.
        self._statement = sa.text(query.replace(":", r"\:"))

    def entries(self) -> AsyncGenerator[RosterLine, None]:
        """Each row once, in order. See ``worker.ports.Roster``.

        Raises:
            RosterError: the query fails, or returns no column ``off_id`` or no identifier.
            UnavailableError: the database cannot be reached, or its connection was lost.
            ConfigurationError: a SQLite file, or its folder, belongs to another user or is
                world-writable.
        """
        return require_identifier(self._lines(), SOURCE)

    async def _lines(self) -> AsyncGenerator[RosterLine, None]:
        number = 0
        is_async = self._url.get_dialect().is_async
        with _translating(self.tls):
            if self._url.get_backend_name() == "sqlite":
                _examine_sqlite_file(self._url)
            async with aclosing(self._read() if is_async else self._read_in_thread()) as partitions:
                async for columns, rows in partitions:
                    for row in rows:
                        number += 1
                        yield _line(row, columns, number)

    async def _read(self) -> _Partitions:
        tls = self.tls
        if tls is not None:
            tls.warn()
        engine = create_async_engine(
            self._url.difference_update_query(TLS_PARAMETERS) if tls else self._url,
            hide_parameters=True,
            poolclass=sa.NullPool,
            # Without prepared statements, which PgBouncer does not support in transaction mode.
            connect_args={**tls.arguments(), "statement_cache_size": 0} if tls else {},
        )
        async with engine.connect() as connection:
            if tls is not None:
                driver = (await connection.get_raw_connection()).driver_connection
                self.connection = tls.describe(driver)
            await connection.execution_options(yield_per=_ROWS_FETCHED)
            result = await connection.stream(self._statement)
            columns = self._columns_of(result)
            async for rows in result.partitions(_ROWS_FETCHED):
                yield columns, rows

    async def _read_in_thread(self) -> _Partitions:
        engine = sa.create_engine(self._url, hide_parameters=True, poolclass=sa.NullPool)
        is_idle = True
        connection = await _in_thread(engine.connect)
        try:
            connection.execution_options(yield_per=_ROWS_FETCHED, stream_results=True)
            result = await _in_thread(connection.execute, self._statement)
            columns, partitions = self._columns_of(result), result.partitions(_ROWS_FETCHED)
            while rows := await _in_thread(next, partitions, None):
                yield columns, rows
        except anyio.get_cancelled_exc_class():
            is_idle = False  # a call may still run in its thread, and closing would wait for it
            raise
        finally:
            if is_idle:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(connection.close)

    def _columns_of(self, result: sa.CursorResult[Any] | AsyncResult[Any]) -> Columns:
        columns = find_columns(list(result.keys()), where=SOURCE, hint=_COLUMNS_HINT)
        self.unknown_columns = columns.unknown
        return columns


async def _in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a synchronous driver in a thread. Cancellation does not wait for a long query."""
    return await to_thread.run_sync(function, *args, abandon_on_cancel=True)


def _line(row: sa.Row[Any], columns: Columns, number: int) -> RosterLine:
    labels = [
        None if index is None else row[index] for index in (columns.local_ref, columns.cohort)
    ]
    return line_from_values(row[columns.off_id], *labels, where=f"{SOURCE} row {number}")


def _parse(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect().import_dbapi()
    except ArgumentError:
        raise ConfigurationError(
            "roster.url: is not a SQLAlchemy URL", hint="write it as postgresql://host/database"
        ) from None
    except (NoSuchModuleError, ImportError):  # an unknown dialect, or a missing driver
        raise ConfigurationError(
            "roster.url: the driver for this database is not installed",
            hint="install the driver in the worker's environment, or name another driver",
        ) from None
    return url


def _examine_sqlite_file(url: sa.URL) -> None:
    """Check a SQLite file, and the files beside it, as ``roster.path`` is checked.

    The file must exist, because SQLite would create an empty one for a misspelled name.
    """
    (name, *_), options = url.get_dialect()().create_connect_args(url)
    if options.get("uri") and name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    if name == ":memory:":
        return
    try:
        examine_with_folder(Path(name), key=_KEY, forbidden=WORLD_WRITE)
        # `examine_with_folder` accepts a missing file.
        Path(name).stat()
    except OSError as error:
        raise RosterError(
            f"cannot read the roster database {name}: {reason_of(error)}", hint="check roster.url"
        ) from None


@contextmanager
def _translating(tls: PostgresTls | None) -> Iterator[None]:
    """Report a driver's error by class and code. Its text may contain values of rows."""
    try:
        yield
    # SQLAlchemy does not wrap errors of asyncpg that occur while rows are streamed.
    except (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if tls is not None and (refusal := tls.refusal(error)):
            raise refusal from None
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
        description = type(cause).__name__ + (f", {code}" if code else "")
        # A retry helps against an outage (exit code 69), not against a wrong query (65).
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        # asyncpg raises an OSError if it cannot connect.
        if is_lost or isinstance(cause, OSError) or str(code).startswith(_OUTAGES):
            raise UnavailableError(
                f"the database of the roster is unavailable: {description}",
                hint="check that its server is running, and the host and port in roster.url",
            ) from None
        raise RosterError(
            f"{SOURCE} failed: {description}", hint="try the query in the database's own client"
        ) from None
