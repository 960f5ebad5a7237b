"""Roster from a database query: streamed, in a transaction that is never committed."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from worker.core.database_urls import TLS_PARAMETERS
from worker.core.display import counted
from worker.core.model import RosterEntry
from worker.errors import ConfigurationError, RosterError, UnavailableError, reason_of
from worker.roster import Columns, RosterLine, find_columns, read_value
from worker.tls import PostgresTls, open_tls
from worker.trusted_files import examine_with_folder

T = TypeVar("T")
_Rows: TypeAlias = AsyncIterator[Sequence[sa.Row[Any]]]

SOURCE: Final = "roster.query"
_KEY: Final = "roster.url"
_ROWS_FETCHED: Final = 512
_HINT: Final = "name the columns in the query: select … as off_id, … as local_ref, … as cohort"
_LOG_HINT: Final = "correct the rows; the log names each (roster.line_unreadable)"
_AWAY: Final = ("08", "53", "57P0")
"""SQLSTATE of a lost connection, of a server that is full, and of one that starts or stops."""
_DRIVERS: Final = {"postgresql": "postgresql+asyncpg", "sqlite+aiosqlite": "sqlite"}
"""aiosqlite is a thread too, but cannot be closed before a long query has ended."""


class QueryRoster:
    """Streams persons from any database that SQLAlchemy supports.

    Without a driver in the URL, PostgreSQL uses asyncpg, and other dialects their default driver. A
    synchronous driver, and any for SQLite, runs in a worker thread.

    Args:
        url: SQLAlchemy URL. Its password never appears in messages.
        query: returns ``off_id`` and optionally ``local_ref`` and ``cohort``. Colons are not bind
            parameters.

    Attributes:
        tls: TLS settings for PostgreSQL; None for other databases.
        connection: how the latest PostgreSQL connection was encrypted and verified.

    Raises:
        ConfigurationError: the URL is invalid or not secure, or its driver is not installed.
    """

    def __init__(self, url: str, query: str, *, ca_file: Path | None = None) -> None:
        self._url = _parse(url)
        self.tls = _tls(self._url, ca_file)
        self.connection = ""
        self._statement = sa.text(query.replace(":", r"\:"))

    async def entries(self) -> AsyncGenerator[RosterLine, None]:
        """Each row once, in order; see ``worker.ports.Roster``.

        Raises:
            RosterError: the query fails, or returns no column ``off_id`` or no identifier.
            UnavailableError: the database cannot be reached, or its connection was lost.
            ConfigurationError: a SQLite file, or its folder, is another user's or can be written by
                everyone.
        """
        number = 0
        first_error = ""
        has_entry = False
        async with self._rows() as (columns, partitions):
            async for rows in _translated(partitions):
                for row in rows:
                    number += 1
                    line = _line(row, columns, number)
                    if isinstance(line, RosterEntry):
                        has_entry = True
                    else:
                        first_error = first_error or f"; row {number}: {line.problem}"
                    yield line
        if not has_entry:
            raise RosterError(
                f"{SOURCE} returned {counted(number, 'row')} and no identifier{first_error}",
                hint=_LOG_HINT if first_error else _HINT,
            )

    @asynccontextmanager
    async def _rows(self) -> AsyncIterator[tuple[Columns, _Rows]]:
        if self._url.get_backend_name() == "sqlite":
            _examine_sqlite_file(self._url)
        is_async = self._url.get_dialect().is_async
        async with (
            self._rows_async() if is_async else self._rows_in_thread() as (names, partitions)
        ):
            yield find_columns(names, where=SOURCE, hint=_HINT), partitions

    @asynccontextmanager
    async def _rows_async(self) -> AsyncIterator[tuple[Sequence[str], _Rows]]:
        tls = self.tls
        if tls is not None:
            tls.warn()
        engine = create_async_engine(
            self._url.difference_update_query(TLS_PARAMETERS) if tls else self._url,
            hide_parameters=True,
            poolclass=sa.NullPool,
            connect_args={**tls.arguments(), "statement_cache_size": 0} if tls else {},
        )
        async with AsyncExitStack() as stack:
            with _translating(tls):
                connection = await stack.enter_async_context(engine.connect())
                if tls is not None:
                    driver = (await connection.get_raw_connection()).driver_connection
                    self.connection = tls.describe(driver)
                await connection.execution_options(yield_per=_ROWS_FETCHED)
                result = await connection.stream(self._statement)
                names = list(result.keys())
            yield names, result.partitions(_ROWS_FETCHED)

    @asynccontextmanager
    async def _rows_in_thread(self) -> AsyncIterator[tuple[Sequence[str], _Rows]]:
        engine = sa.create_engine(self._url, hide_parameters=True, poolclass=sa.NullPool)
        is_idle = True
        with _translating():
            connection = await _in_thread(engine.connect)
        try:
            with _translating():
                connection.execution_options(yield_per=_ROWS_FETCHED, stream_results=True)
                result = await _in_thread(connection.execute, self._statement)
                names = list(result.keys())
            yield names, _partitions(result)
        except anyio.get_cancelled_exc_class():
            is_idle = False  # a call may go on in its thread
            raise
        finally:
            if is_idle:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(connection.close)


async def _in_thread(function: Callable[..., T], *args: Any) -> T:
    """What a synchronous driver returns. Cancellation does not wait for a long query."""
    return await to_thread.run_sync(function, *args, abandon_on_cancel=True)


async def _partitions(result: sa.CursorResult[Any]) -> _Rows:
    partitions = result.partitions(_ROWS_FETCHED)
    while rows := await _in_thread(next, partitions, None):
        yield rows


async def _translated(partitions: _Rows) -> _Rows:
    with _translating():
        async for rows in partitions:
            yield rows


def _line(row: sa.Row[Any], columns: Columns, number: int) -> RosterLine:
    labels = [
        None if place is None else row[place] for place in (columns.local_ref, columns.cohort)
    ]
    return read_value(row[columns.off_id], *labels, where=f"{SOURCE} row {number}")


def _parse(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect().import_dbapi()
    except ArgumentError:
        raise ConfigurationError(
            "roster.url: is not a SQLAlchemy URL", hint="write it as postgresql://host/database"
        ) from None
    except (NoSuchModuleError, ImportError):
        raise ConfigurationError(
            "roster.url: the driver for this database is not installed",
            hint="install the driver in the worker's environment, or name another driver",
        ) from None
    return url


def _tls(url: sa.URL, ca_file: Path | None) -> PostgresTls | None:
    """TLS settings for PostgreSQL; None for other databases."""
    if url.get_backend_name() != "postgresql":
        return None
    return open_tls(url, key=_KEY, ca_file=ca_file)


def _examine_sqlite_file(url: sa.URL) -> None:
    """Ask of a SQLite file what is asked of ``roster.path``, and of the files beside it.

    It has to be there: SQLite would create an empty file for a misspelled name.
    """
    with _translating():
        (name, *_), options = url.get_dialect()().create_connect_args(url)
    if options.get("uri") and name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    if name == ":memory:":
        return
    try:
        is_there = examine_with_folder(Path(name), key=_KEY, group_may_write=True).exists()
    except FileNotFoundError:
        is_there = False
    except OSError as error:
        raise RosterError(
            f"cannot read the roster database {name}: {reason_of(error)}", hint="check roster.url"
        ) from None
    if not is_there:
        raise RosterError(f"the roster database {name} does not exist", hint="check roster.url")


@contextmanager
def _translating(tls: PostgresTls | None = None) -> Iterator[None]:
    """Report a driver's error by class and code. Its text may contain values of rows."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        if tls is not None and (refusal := tls.refusal(error)):
            raise refusal from None
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
        kind = type(cause).__name__ + (f", {code}" if code else "")
        if isinstance(cause, OSError) or str(code).startswith(_AWAY):
            raise UnavailableError(
                f"the database of the roster is unavailable: {kind}",
                hint="check that its server runs, and host and port in roster.url",
            ) from None
        raise RosterError(
            f"{SOURCE} failed: {kind}", hint="try the query in the database's own client"
        ) from None
