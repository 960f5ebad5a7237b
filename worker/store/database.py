"""One connection pool, and transactions that are atomic.

Transactions are shielded from cancellation. SQLite takes one write at a time. A lost connection, a
deadlock or a busy file is retried for a bounded time, so transactions must be idempotent: a commit
can succeed although its acknowledgement is lost.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import anyio
import structlog
from sqlalchemy import Executable, Row, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from worker.core.database_tls import TLS_PARAMETERS
from worker.errors import ConfigurationError, StoppedError
from worker.ports import Runtime
from worker.postgres_tls import PostgresTls, open_tls
from worker.store.dialects import LATER, StoreDialect, driver_url
from worker.store.errors import Meaning, described, meaning_of, plain_reason
from worker.store.liveness import Liveness
from worker.store.outage import Outage
from worker.store.pooling import TransactionLimits
from worker.store.sqlite_connections import FOREIGN_KEYS, WRITE, OpenedFile, set_rules
from worker.store.sqlite_file import examine, require_folder

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""How long a transaction is retried before the database counts as unavailable."""
_FIRST_PAUSE_S: Final = 0.05
_PAUSE_S_MAX: Final = 5.0
_BUSY_S_MAX: Final = 20.0
_POOL_S_MAX: Final = 30.0
_IDLE_S: Final = 50.0
_CONNECTION_S_MAX: Final = 900
"""Age after which a connection is replaced, because a firewall may have dropped it.

Connections are not tested before use: a statement on a dead connection is retried.
"""
_READ: Final = {WRITE: False, FOREIGN_KEYS: True}
_WRITE: Final = {WRITE: True, FOREIGN_KEYS: True}
_ALTER: Final = {WRITE: True, FOREIGN_KEYS: False}
_LOCK_S_MIN: Final = 2.0
_CLOSE_S: Final = 5.0
_WRITERS_MAX: Final = 1_000
"""Concurrent writes on PostgreSQL, more than there are connections. SQLite takes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The store's engine and the rules of its dialect."""

    engine: AsyncEngine
    dialect: StoreDialect
    runtime: Runtime
    gate: anyio.Semaphore
    patience_s: float = PATIENCE_S
    outage: Outage = field(default_factory=Outage, repr=False)
    liveness: Liveness | None = field(default=None, repr=False)
    limits: TransactionLimits | None = field(default=None, repr=False)
    tls: PostgresTls | None = field(default=None, repr=False)
    file: OpenedFile | None = field(default=None, repr=False)

    def watching(self) -> AbstractContextManager[None]:
        """Stop waiting for the database within the block if the server is frozen."""
        return nullcontext() if self.liveness is None else self.liveness.watching()

    async def read(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Run ``work`` with these arguments in a read transaction.

        Raises:
            UnavailableError: the database cannot be used after all retries.
            StoppedError: a stop was requested while it cannot be used.
            ConfigurationError: the database cannot be used until someone fixes the cause.
        """
        return await self._transact(lambda connection: work(connection, *args, **more), _READ)

    async def write(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Like ``read`` in one write transaction, committed when ``work`` returns.

        ``work`` must be idempotent: it is called again after a transient error.
        """
        return await self._transact(lambda connection: work(connection, *args, **more), _WRITE)

    async def alter(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Like ``write``, for the schema: SQLite makes tables anew and checks no foreign keys."""
        return await self._transact(work, _ALTER)

    async def now(self, connection: AsyncConnection) -> datetime:
        """The time that all machines share: the server's clock; with SQLite, this machine's."""
        if not self.dialect.has_clock:
            return self.runtime.now()
        result: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
        return result

    def later(self, seconds: float) -> Mapping[str, Any]:
        """The parameter for a statement that uses the dialect's ``later``: seconds from now."""
        span = timedelta(seconds=seconds)
        return {LATER: span if self.dialect.has_clock else self.runtime.now() + span}

    def lock_s_max(self) -> float:
        """How long a transaction that begins now may wait for a lock."""
        left_s = self.outage.left_s(self.runtime.monotonic(), self.patience_s)
        return min(left_s, _lock_s_max(self.dialect, self.patience_s))

    async def _transact(
        self, work: Callable[[AsyncConnection], Awaitable[T]], options: Mapping[str, bool]
    ) -> T:
        failing_since_s: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            began_s, lock_s = self.runtime.monotonic(), self.lock_s_max()
            try:
                result = await self._once(work, options)
            except Exception as error:
                meaning = meaning_of(error)
                if meaning == Meaning.OURS:
                    raise
                if failing_since_s is None:
                    failing_since_s = self.runtime.monotonic()
                    if meaning == Meaning.WAITED:
                        failing_since_s = max(began_s, failing_since_s - lock_s)
                left_s = self.patience_s - self._waited_s(failing_since_s)
                if meaning == Meaning.PASSING:
                    self._refuse_if_stopped(error)
                if meaning not in {Meaning.PASSING, Meaning.WAITED} or left_s < _FIRST_PAUSE_S:
                    refusal = None if self.tls is None else self.tls.refusal(error)
                    raise refusal or described(error, self.engine.url) from error
                log.warning("database.retry", reason=plain_reason(error), left_s=round(left_s, 3))
                drawn_s = pause_s * (0.5 + self.runtime.uniform() / 2)
                await self.outage.pause(self.runtime, min(drawn_s, left_s))
                pause_s = min(pause_s * 2, _PAUSE_S_MAX)
            else:
                self.outage.since_s = None
                return result

    def _refuse_if_stopped(self, error: Exception) -> None:
        if self.outage.ends_waiting(self.runtime.monotonic()):
            raise StoppedError(
                f"stopped while waiting for the database ({plain_reason(error)})",
                hint="what was committed is kept, and the next run continues",
            ) from error

    def _waited_s(self, failing_since_s: float) -> float:
        """Seconds without a success, for a call that has failed since ``failing_since_s``.

        All writes that end a run share one outage. It begins with an error or a lock timeout. The
        duration of a long transaction that then fails, such as a publication, does not count.
        """
        return self.runtime.monotonic() - self.outage.begin(failing_since_s)

    async def _once(
        self, work: Callable[[AsyncConnection], Awaitable[T]], options: Mapping[str, bool]
    ) -> T:
        if options is _READ:
            return await self._run(work, options)
        results = []
        async with self.gate:
            with anyio.CancelScope(shield=True):
                results.append(await self._run(work, options))
        return results[0]

    async def _run(
        self, work: Callable[[AsyncConnection], Awaitable[T]], options: Mapping[str, bool]
    ) -> T:
        # Cancelling a SQLite connection while it opens leaves a thread that never ends.
        is_file = self.dialect.name == "sqlite"
        async with AsyncExitStack() as stack:
            stack.enter_context(self.watching())
            with anyio.CancelScope(shield=is_file):
                connection = await stack.enter_async_context(self.engine.connect())
            await connection.execution_options(**options)
            if self.limits is not None and not self.limits.are_confirmed:
                async with connection.begin():
                    await self.limits.confirm(connection)
            async with connection.begin():
                result = await work(connection)
                self._require_file()
            self._require_file()
            return result

    def _require_file(self) -> None:
        if self.file is not None:
            self.file.require_same()


async def rows_of(
    connection: AsyncConnection, query: Executable, values: Mapping[str, Any] | None = None
) -> Sequence[Row[Any]]:
    """The rows of one query, for ``Database.read``."""
    return (await connection.execute(query, values)).all()


async def execute(
    connection: AsyncConnection, statement: Executable, values: Mapping[str, Any] | None = None
) -> int:
    """Execute one statement, for ``Database.write``; return how many rows it concerned."""
    return (await connection.execute(statement, values)).rowcount


def _lock_s_max(dialect: StoreDialect, patience_s: float) -> float:
    """How long to wait for a lock; on PostgreSQL half the patience, to leave time for a retry."""
    if dialect.name == "sqlite":
        return min(_BUSY_S_MAX, patience_s)
    return max(patience_s / 2, _LOCK_S_MIN)


@asynccontextmanager
async def open_database(
    url: str,
    runtime: Runtime,
    *,
    patience_s: float = PATIENCE_S,
    idle_s: float = _IDLE_S,
    ca_file: Path | None = None,
    is_group_readable: bool = False,
    stop: anyio.Event | None = None,
) -> AsyncIterator[Database]:
    """The database for the duration of the block. It connects on first use.

    Args:
        patience_s: total time to wait for the database: an unreachable or silent server, locks of
            other processes, and retries.
        idle_s: PostgreSQL ends an idle transaction of the worker after this time, so that a paused
            or disconnected process does not keep the lease's row locked for ever.
        ca_file: a private CA, trusted in addition to the machine's own (``tls.ca_file``).
        is_group_readable: the group of a SQLite file may read it (``database.group_readable``).
        stop: once it is set, a server that is away is waited for no longer.

    Raises:
        ConfigurationError: the URL cannot be used or is not safe, a CA file cannot be used, the
            SQLite file's folder does not exist, or other accounts can access the file.
    """
    parsed, dialect = driver_url(url)
    outage = Outage(stop=stop)
    if dialect.name == "sqlite":
        database = _sqlite(
            parsed, dialect, runtime, outage, patience_s, is_group_readable=is_group_readable
        )
    else:
        database = _postgresql(
            parsed, dialect, runtime, outage, patience_s, idle_s=idle_s, ca_file=ca_file
        )
    try:
        yield database
    finally:
        with anyio.CancelScope(shield=True):
            await _close(database.engine, database.liveness)


def _sqlite(
    url: URL,
    dialect: StoreDialect,
    runtime: Runtime,
    outage: Outage,
    patience_s: float,
    *,
    is_group_readable: bool,
) -> Database:
    path = Path(url.database or "")
    require_folder(path)
    examine(path, is_group_readable=is_group_readable)
    engine = _engine(url, {})

    file = OpenedFile(path)
    file.watch(engine, is_group_readable=is_group_readable)
    database = Database(
        engine=engine,
        dialect=dialect,
        runtime=runtime,
        gate=anyio.Semaphore(1),
        patience_s=patience_s,
        outage=outage,
        file=file,
    )
    set_rules(engine, database.lock_s_max)
    return database


def _postgresql(
    url: URL,
    dialect: StoreDialect,
    runtime: Runtime,
    outage: Outage,
    patience_s: float,
    *,
    idle_s: float,
    ca_file: Path | None,
) -> Database:
    tls = _tls(url, ca_file)
    tls.warn()

    def left_s() -> float:
        return outage.left_s(runtime.monotonic(), patience_s)

    lock_s_max = _lock_s_max(dialect, patience_s)
    limits = TransactionLimits(lock_s=lambda: min(left_s(), lock_s_max), idle_s=idle_s)
    liveness = Liveness(
        runtime,
        patience_s=patience_s,
        silent_since=outage.begin,
        left_s=left_s,
        connection_class=limits.connection_class,
        stop=outage.stop,
    )
    options = {
        "pool_size": 4,
        "max_overflow": 4,
        "pool_timeout": min(_POOL_S_MAX, patience_s),
        "pool_recycle": _CONNECTION_S_MAX,
        "connect_args": _connecting(liveness, tls, runtime),
    }
    return Database(
        engine=_engine(url.difference_update_query(TLS_PARAMETERS), options),
        dialect=dialect,
        runtime=runtime,
        gate=anyio.Semaphore(_WRITERS_MAX),
        patience_s=patience_s,
        outage=outage,
        liveness=liveness,
        limits=limits,
        tls=tls,
    )


def _tls(url: URL, ca_file: Path | None) -> PostgresTls:
    """TLS for the server that the driver would connect to."""
    try:
        _, arguments = url.get_dialect()().create_connect_args(url)
    except (ArgumentError, TypeError, ValueError) as error:
        raise _unusable(error) from error
    return open_tls(arguments, url.query, key="database.url", ca_file=ca_file)


def _connecting(liveness: Liveness, tls: PostgresTls, runtime: Runtime) -> Mapping[str, Any]:
    """The driver's arguments in addition to the URL's.

    Each prepared statement gets a unique name, and the driver's own queries get none. The default
    names are counters: behind a pooler, other clients use the same ones.
    """
    return {
        "async_creator_fn": liveness.connect,
        **tls.arguments(),
        "statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"pts_{runtime.new_id()}",
    }


def _engine(url: URL, options: Mapping[str, Any]) -> AsyncEngine:
    try:
        # Last in, first out: every connection in use caches its own pages and statements.
        return create_async_engine(url, hide_parameters=True, pool_use_lifo=True, **options)
    except (ArgumentError, TypeError, ValueError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"database.url: cannot be used ({type(error).__name__})",
        hint="use sqlite:///FILE or postgresql://USER@HOST/DATABASE, and check the parameters",
    )


async def _close(engine: AsyncEngine, liveness: Liveness | None) -> None:
    if liveness is None:
        await engine.dispose()
        return
    await liveness.close()
    with anyio.move_on_after(_CLOSE_S):
        await engine.dispose()
        return
    liveness.cut_off()
    await engine.dispose()
