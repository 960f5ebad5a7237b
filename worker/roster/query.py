"""The roster as a query on a database: streamed, read only, never committed."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from worker.core.database_tls import TLS_PARAMETERS
from worker.core.model import RosterEntry
from worker.errors import ConfigurationError, RosterError
from worker.postgres_tls import PostgresTls, open_tls
from worker.roster.rows import Columns, Line, find_columns, read_value

T = TypeVar("T")

SOURCE: Final = "roster.query"
_ROWS_FETCHED: Final = 512
_HINT: Final = "name the columns in the query: select … as off_id, … as local_ref"
_ASYNC_DRIVERS: Final = {"postgresql": "postgresql+asyncpg"}


class QueryRoster:
    """Reads persons from any database that SQLAlchemy knows, as the server streams them.

    A URL that names no driver gets asyncpg for PostgreSQL and the dialect's own driver otherwise; a
    driver that is not async runs in a worker thread.

    Args:
        url: SQLAlchemy URL; its password is never told.
        query: gives ``off_id`` and, if wanted, ``local_ref``. A colon in it is a colon.
        ca_file: a private CA that a PostgreSQL's certificate may be of (``tls.ca_file``).

    Attributes:
        tls: how a PostgreSQL is spoken to; None for another database.
        connection: how the latest connection to it was encrypted and verified.

    Raises:
        ConfigurationError: the URL is not one or not safe, or its driver is not installed.
    """

    def __init__(self, url: str, query: str, *, ca_file: Path | None = None) -> None:
        self._url = _parse(url)
        self.tls = _tls(self._url, ca_file)
        self.connection = ""
        self._statement = sa.text(query.replace(":", r"\:"))

    async def entries(self) -> AsyncGenerator[Line, None]:
        """Each row once, in order; see ``worker.ports.Roster``.

        Raises:
            RosterError: the query fails, has no column ``off_id``, or gives not one identifier.
        """
        number = 0
        identified = False
        async with self._rows() as (columns, partitions):
            async for rows in _translated(partitions):
                for row in rows:
                    number += 1
                    line = _line(row, columns, number)
                    identified = identified or isinstance(line, RosterEntry)
                    yield line
        if not identified:
            raise RosterError(f"{SOURCE} gave {number} rows and not one identifier", hint=_HINT)

    @asynccontextmanager
    async def _rows(self) -> AsyncIterator[tuple[Columns, AsyncIterator[Sequence[sa.Row[Any]]]]]:
        _require_sqlite_file(self._url)
        is_async = self._url.get_dialect().is_async
        async with (
            self._rows_async() if is_async else self._rows_in_thread() as (names, partitions)
        ):
            yield find_columns(names, where=SOURCE, hint=_HINT), partitions

    @asynccontextmanager
    async def _rows_async(
        self,
    ) -> AsyncIterator[tuple[Sequence[str], AsyncIterator[Sequence[sa.Row[Any]]]]]:
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
    async def _rows_in_thread(
        self,
    ) -> AsyncIterator[tuple[Sequence[str], AsyncIterator[Sequence[sa.Row[Any]]]]]:
        engine = sa.create_engine(self._url, hide_parameters=True, poolclass=sa.NullPool)
        driver = _Driver()
        with _translating():
            connection = await driver.call(engine.connect)
        try:
            with _translating():
                connection.execution_options(yield_per=_ROWS_FETCHED, stream_results=True)
                result = await driver.call(connection.execute, self._statement)
                names = list(result.keys())
            yield names, _partitions_in_thread(driver, result)
        finally:
            if not driver.busy:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(connection.close)


class _Driver:
    """A driver that blocks, in a worker thread. A stop does not wait for a long query.

    Attributes:
        busy: a call was left behind in its thread, so that the connection must not be touched.
    """

    def __init__(self) -> None:
        self.busy = False

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """The function's result; if this task is cancelled, the call is left behind."""
        try:
            return await to_thread.run_sync(function, *args, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            self.busy = True
            raise


async def _partitions_in_thread(
    driver: _Driver, result: sa.CursorResult[Any]
) -> AsyncIterator[Sequence[sa.Row[Any]]]:
    partitions = result.partitions(_ROWS_FETCHED)
    while rows := await driver.call(next, partitions, None):
        yield rows


async def _translated(
    partitions: AsyncIterator[Sequence[sa.Row[Any]]],
) -> AsyncIterator[Sequence[sa.Row[Any]]]:
    with _translating():
        async for rows in partitions:
            yield rows


def _line(row: sa.Row[Any], columns: Columns, number: int) -> Line:
    local_ref = None if columns.local_ref is None else row[columns.local_ref]
    return read_value(row[columns.off_id], local_ref, source=SOURCE, number=number)


def _parse(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
        url = url.set(drivername=_ASYNC_DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect().import_dbapi()
    except ArgumentError:
        raise ConfigurationError(
            "roster.url: is not a SQLAlchemy URL", hint="write it like postgresql://host/database"
        ) from None
    except (NoSuchModuleError, ImportError):
        raise ConfigurationError(
            "roster.url: the driver of this kind of database is not installed",
            hint="install the driver's package beside the worker, or name another driver",
        ) from None
    return url


def _tls(url: sa.URL, ca_file: Path | None) -> PostgresTls | None:
    """How a PostgreSQL is spoken to; None for another database."""
    if url.get_backend_name() != "postgresql":
        return None
    try:
        _, arguments = url.get_dialect()().create_connect_args(url)
    except (ArgumentError, TypeError, ValueError):
        raise ConfigurationError(
            "roster.url: cannot be used", hint="check its hosts, ports and parameters"
        ) from None
    return open_tls(arguments, url.query, key="roster.url", ca_file=ca_file)


def _require_sqlite_file(url: sa.URL) -> None:
    """SQLite would make an empty file of a misspelt name."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return
    if not os.path.exists(name):  # noqa: PTH110 -- a URL's part, not a path of ours
        raise RosterError(f"the roster's database {name} does not exist", hint="see roster.url")


@contextmanager
def _translating(tls: PostgresTls | None = None) -> Iterator[None]:
    """Name a driver's error without its text, which may repeat values of the rows."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        if tls is not None and (refusal := tls.refusal(error)):
            raise refusal from None
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
        kind = type(cause).__name__ + (f", {code}" if code else "")
        raise RosterError(
            f"{SOURCE} failed: {kind}", hint="try the query with the database's own client"
        ) from None
