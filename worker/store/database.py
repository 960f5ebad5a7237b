"""One connection pool, and transactions that are atomic.

Transactions are shielded from cancellation. SQLite takes one write at a time. A lost connection, a
deadlock or a busy file is retried for a bounded time, so transactions must be idempotent: a commit
can succeed although its acknowledgement is lost.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import anyio
import structlog
from sqlalchemy import Executable, event, func, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from worker.core.database_urls import TLS_PARAMETERS
from worker.errors import StoppedError, WorkerError
from worker.ports import Runtime
from worker.store.errors import ErrorClass, class_of, plain_reason, worker_error
from worker.store.sqlite import WRITE, configure_connections, require_safe_path
from worker.tls import PostgresTls, open_tls

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""How long a transaction is retried before the database counts as unavailable."""
LONG_TRANSACTION_S: Final = 3_600.0
"""Time limit of a long transaction on a server, such as a publication or a report."""
_ANSWER_S_MIN: Final = 30.0
"""Time limit of any other transaction on a server, unless patience is longer."""
_STOPPED_S: Final = 4.0
"""The time for an answer after a stop was requested. There are no retries after it."""
_BUSY_S_MAX: Final = 5.0
"""The longest wait of one attempt for a lock on the SQLite file. Then the attempt is retried."""
_WAIT_S_MAX: Final = 20.0
"""The longest wait of one attempt for PostgreSQL: for a connection, or for a lock."""
_FIRST_PAUSE_S: Final = 0.05
_PAUSE_S_MAX: Final = 2.0
IDLE_S: Final = 50.0
_CLOSE_S: Final = 2.0
_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_CONNECTIONS: Final = 8
"""To PostgreSQL. SQLite takes one write at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The store's engine and the limits of its transactions.

    Attributes:
        has_clock: the database is a server, and all lease holders use its clock.
        gate: limits concurrent writes.
        limit_s: time limit of a transaction on a server.
        stop: when set, waiting for an unavailable database ends.
        final_errors: empty until patience runs out, or a stop ends the wait. Then it contains the
            error, and later calls raise it without waiting.
    """

    engine: AsyncEngine
    runtime: Runtime
    gate: anyio.Semaphore
    patience_s: float
    stop: anyio.Event
    has_clock: bool = False
    limit_s: float = math.inf
    final_errors: list[WorkerError] = field(default_factory=list, repr=False)
    tls: PostgresTls | None = field(default=None, repr=False)

    @property
    def is_file(self) -> bool:
        """Whether it is SQLite."""
        return self.engine.dialect.name == "sqlite"

    def for_long_transactions(self) -> "Database":
        """This database with a time limit of an hour for each transaction on a server."""
        return replace(self, limit_s=max(self.limit_s, LONG_TRANSACTION_S))

    async def read(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Run ``work`` with these arguments in a read transaction.

        Raises:
            UnavailableError: the database cannot be used after all retries.
            StoppedError: a stop was requested while it could not be used.
            ConfigurationError: the database cannot be used until the operator fixes the cause.
        """
        return await self._transact(
            lambda connection: work(connection, *args, **more), is_write=False
        )

    async def write(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Like ``read`` in one write transaction, committed when ``work`` returns.

        ``work`` must be idempotent: it is called again after a transient error.
        """
        return await self._transact(
            lambda connection: work(connection, *args, **more), is_write=True
        )

    async def now(self, connection: AsyncConnection) -> datetime:
        """The time of the clock that all processes share: the server's, or this machine's."""
        if not self.has_clock:
            return self.runtime.now()
        # PostgreSQL's `now()` is the start of the transaction, which may be long ago.
        result: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
        return result

    async def _transact(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, is_write: bool
    ) -> T:
        failing_since_s: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            # If it waited again, each later step of the run would take the whole patience.
            if self.final_errors:
                raise self.final_errors[0]
            try:
                return await self._once(work, is_write=is_write)
            except Exception as error:
                refusal = None if self.tls is None else self.tls.refusal(error)
                if refusal is not None:
                    raise refusal from None

                meaning, now_s = class_of(error), self.runtime.monotonic()
                if meaning == ErrorClass.INTERNAL:
                    raise
                if meaning == ErrorClass.OPERATOR:
                    raise worker_error(error, self.engine.url) from error
                # Patience starts at the first error, because a long transaction is not a wait.
                if failing_since_s is None:
                    failing_since_s = now_s
                left_s = self.patience_s - (now_s - failing_since_s)
                if self.stop.is_set() or left_s < _FIRST_PAUSE_S:
                    raise self._give_up(error) from error
                log.warning("database.retry", reason=plain_reason(error), left_s=round(left_s, 3))
                # With jitter, so that eight connections do not return at the same moment.
                await self.runtime.sleep(min(pause_s * (0.5 + self.runtime.uniform() / 2), left_s))
                pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    def _give_up(self, error: Exception) -> WorkerError:
        final_error = worker_error(error, self.engine.url)
        if self.stop.is_set():
            final_error = StoppedError(
                f"stopped while waiting for the database ({plain_reason(error)})",
                hint="committed work is kept, and the next run continues",
            )
        self.final_errors.append(final_error)
        return final_error

    async def _once(self, work: Callable[[AsyncConnection], Awaitable[T]], *, is_write: bool) -> T:
        async with AsyncExitStack() as stack:
            if is_write:
                # Before the shield, so that a writer still waiting for the gate can be cancelled.
                await stack.enter_async_context(self.gate)
                stack.enter_context(anyio.CancelScope(shield=True))
            if not self.is_file:
                await stack.enter_async_context(self._limited())
            # Cancelling a SQLite connection while it opens leaves a thread that never ends.
            with anyio.CancelScope(shield=self.is_file):
                connection = await stack.enter_async_context(self.engine.connect())
            await connection.execution_options(**{WRITE: is_write})
            async with connection.begin():
                return await work(connection)

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        """Cancel the block after ``limit_s``, or soon after a stop was requested.

        Raises:
            TimeoutError: the block was cancelled, and its connection closed.
        """

        async def shorten_after_stop() -> None:
            await self.stop.wait()
            scope.deadline = min(scope.deadline, anyio.current_time() + _STOPPED_S)

        with anyio.fail_after(self.limit_s) as scope:
            watching = asyncio.get_running_loop().create_task(shorten_after_stop())
            try:
                yield
            finally:
                watching.cancel()


async def execute(connection: AsyncConnection, statement: Executable) -> int:
    """Execute one statement, for ``Database.write``, and return the number of affected rows."""
    return (await connection.execute(statement)).rowcount


async def delete_securely(connection: AsyncConnection) -> None:
    """Let SQLite overwrite the bytes of rows that this transaction deletes."""
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("PRAGMA secure_delete=ON")


@asynccontextmanager
async def open_database(
    url: str,
    runtime: Runtime,
    *,
    patience_s: float = PATIENCE_S,
    idle_s: float = IDLE_S,
    ca_file: Path | None = None,
    is_group_readable: bool = False,
    stop: anyio.Event | None = None,
) -> AsyncIterator[Database]:
    """The database for the duration of the block. It connects on first use.

    Args:
        url: a URL that ``core.database_urls.check_store_url`` accepts.
        patience_s: total time to wait for the database: an unreachable or silent server, locks of
            other processes, and retries.
        idle_s: PostgreSQL ends an idle transaction of the worker after this time, so that a paused
            or disconnected process does not keep the lease's row locked for ever.
        ca_file: a private CA, trusted in addition to the machine's own (``tls.ca_file``).
        is_group_readable: the group of a SQLite file may read it (``database.group_readable``).
        stop: when set, waiting for an unavailable server ends.

    Raises:
        ConfigurationError: the URL cannot be used or is not safe, a CA file cannot be used, the
            SQLite file's folder does not exist, or other accounts can access the file.
    """
    parsed = make_url(url)
    parsed = parsed.set(drivername=_DRIVERS[parsed.get_backend_name()])
    common = {"runtime": runtime, "stop": stop or anyio.Event()}
    if parsed.get_backend_name() == "sqlite":
        database = _sqlite(parsed, patience_s, is_group_readable=is_group_readable, **common)
    else:
        database = _postgresql(parsed, patience_s, idle_s=idle_s, ca_file=ca_file, **common)
    try:
        yield database
    finally:
        with anyio.CancelScope(shield=True):
            # Closing a connection waits for the server, which may hang.
            with anyio.move_on_after(math.inf if database.is_file else _CLOSE_S):
                await database.engine.dispose()
            # Drop the connections that are still open, without waiting for the server.
            await database.engine.dispose(close=False)


def _sqlite(url: URL, patience_s: float, *, is_group_readable: bool, **common: Any) -> Database:
    path = Path(url.database or "")
    require_safe_path(path, is_group_readable=is_group_readable)
    engine = _engine(url, connect_args={"timeout": min(_BUSY_S_MAX, patience_s)})
    configure_connections(engine, is_group_readable=is_group_readable)
    return Database(engine=engine, gate=anyio.Semaphore(1), patience_s=patience_s, **common)


def _postgresql(
    url: URL, patience_s: float, *, idle_s: float, ca_file: Path | None, **common: Any
) -> Database:
    tls = open_tls(url, key="database.url", ca_file=ca_file)
    tls.warn()
    wait_s = min(_WAIT_S_MAX, patience_s)
    engine = _engine(
        # `open_tls` has read these parameters, and asyncpg does not know all of them.
        url.difference_update_query(TLS_PARAMETERS),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=wait_s,
        connect_args={**tls.arguments(), "timeout": wait_s},
    )
    database = Database(
        engine=engine,
        gate=anyio.Semaphore(_CONNECTIONS),
        patience_s=patience_s,
        has_clock=True,
        limit_s=max(patience_s, _ANSWER_S_MIN),
        tls=tls,
        **common,
    )
    settings = (
        # A session that waits for a lock longer than this gets an error, and is retried.
        f"SET lock_timeout = {wait_s * 1000:.0f}; "
        f"SET idle_in_transaction_session_timeout = {idle_s * 1000:.0f}; "
        # A plan cached for an empty table would later read the whole table for each batch.
        "SET plan_cache_mode = force_custom_plan"
    )

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # Not as startup parameters, which PgBouncer refuses.
        connection.run_async(lambda driver: driver.execute(settings))

    return database


def _engine(url: URL, **options: Any) -> AsyncEngine:
    # Last in, first out: every connection in use caches its own pages and statements.
    return create_async_engine(url, hide_parameters=True, pool_use_lifo=True, **options)
