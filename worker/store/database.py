"""One connection pool, and transactions that are whole or not at all.

Cancellation never lands inside a transaction (it is shielded), writes on SQLite pass a gate one at
a time, and a lost connection, a deadlock or a busy file is tried again for a bounded time. What
runs in a transaction must bear to run twice: the first commit may have come through unheard.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import structlog
from sqlalchemy import event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from worker.errors import ConfigurationError, UnavailableError
from worker.ports import Runtime
from worker.store.dialects import LATER, StoreDialect, dialect_named
from worker.store.liveness import Liveness

log = structlog.get_logger(__name__)

T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""How long a write is tried again before the database counts as unavailable."""
READ_PATIENCE_S: Final = 15.0
"""The same for a read: somebody waits for it."""
_BUSY_S: Final = 20
_IDLE_S: Final = 50.0
_CONNECTION_S_MAX: Final = 900
"""An older connection is made anew when it is next used: what lies between may have forgotten it.

No call is spent on asking whether one still stands: that were three each time, and a statement on
one that does not is tried again as after any loss.
"""
_WAL_PAGES: Final = 5_000
"""How far SQLite's write-ahead log grows (20 MB) before it is carried over to the file.

Keys are random, so each batch writes pages all over the indexes; after SQLite's own 1,000 pages
they were carried over after every second batch, the same ones again and again.
"""
_SQLITE_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"wal_autocheckpoint={_WAL_PAGES}",
)
_LOCK_S_MIN: Final = 2.0
_CLOSE_S: Final = 5.0
_RETRIED_SQLSTATES: Final = frozenset(
    {"25P03", "40001", "40P01", "55P03", "57P01", "57P02", "57P03"}
)
_HINT = (
    "check that the database server runs, that database.url is right, and that the disk has room "
    "and may be written"
)


@dataclass(slots=True)
class _Outage:
    """Since when nothing has come through, on the monotonic clock; ``None`` while all is well."""

    since_s: float | None = None

    def begin(self, at_s: float) -> float:
        """Nothing has come through since then, if not for longer; since when in fact."""
        self.since_s = at_s if self.since_s is None else min(at_s, self.since_s)
        return self.since_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The store's engine and the rules of its dialect."""

    engine: AsyncEngine
    dialect: StoreDialect
    runtime: Runtime
    gate: anyio.Semaphore
    patience_s: float = PATIENCE_S
    outage: _Outage = field(default_factory=_Outage, repr=False)
    liveness: Liveness | None = field(default=None, repr=False)

    def watching(self) -> AbstractContextManager[None]:
        """Whoever waits for the database within the block does not wait for a frozen one."""
        return nullcontext() if self.liveness is None else self.liveness.watching()

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in a read transaction.

        Raises:
            UnavailableError: the database cannot be used.
        """
        return await self._transact(work, is_write=False)

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in one write transaction, committed when it returns.

        ``work`` may be called again after a fault, so it must bear that.

        Raises:
            UnavailableError: the database cannot be used after all retries.
        """
        return await self._transact(work, is_write=True)

    async def now(self, connection: AsyncConnection) -> datetime:
        """The time that holders on several machines agree on: the server's, if there is one."""
        if not self.dialect.has_clock:
            return self.runtime.now()
        result: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        return result

    def later(self, seconds: float) -> Mapping[str, Any]:
        """The parameter of a statement with the dialect's ``later``: so many seconds from now."""
        span = timedelta(seconds=seconds)
        return {LATER: span if self.dialect.has_clock else self.runtime.now() + span}

    async def _transact(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, is_write: bool
    ) -> T:
        failing_since_s: float | None = None
        patience_s = self.patience_s if is_write else min(self.patience_s, READ_PATIENCE_S)
        wait_s = 0.05
        while True:
            try:
                result = await self._once(work, is_write=is_write)
            except Exception as fault:
                if not is_database_fault(fault):
                    raise
                reason = plain_reason(fault)
                if failing_since_s is None:
                    failing_since_s = self.runtime.monotonic()
                waited_s = self._waited_s(failing_since_s)
                if not is_passing(fault) or waited_s + wait_s > patience_s:
                    raise UnavailableError(
                        f"the database is unavailable: {reason}", hint=_HINT
                    ) from fault
                log.warning("database.retry", reason=reason, wait_s=round(wait_s, 3))
                await self.runtime.sleep(wait_s * (0.5 + self.runtime.uniform() / 2))
                wait_s = min(wait_s * 2, 5.0)
            else:
                self.outage.since_s = None
                return result

    def _waited_s(self, failing_since_s: float) -> float:
        """For how long nothing has come through, to a call that has failed since then.

        An outage is waited for once, not anew by each of the writes that end a run. It begins with
        a fault: a long transaction that ends in one, a publication above all, has not waited yet.
        """
        return self.runtime.monotonic() - self.outage.begin(failing_since_s)

    async def _once(self, work: Callable[[AsyncConnection], Awaitable[T]], *, is_write: bool) -> T:
        if not is_write:
            return await self._run(work, is_write=False)
        results = []
        async with self.gate:
            with anyio.CancelScope(shield=True):
                results.append(await self._run(work, is_write=True))
        return results[0]

    async def _run(self, work: Callable[[AsyncConnection], Awaitable[T]], *, is_write: bool) -> T:
        with self.watching():
            async with self.engine.connect() as connection:
                await connection.execution_options(pts_write=is_write)
                async with connection.begin():
                    return await work(connection)


def is_database_fault(fault: Exception) -> bool:
    """Whether the database, and not our code, is to blame.

    Drivers raise some faults of connecting as they are; they all carry an SQLSTATE.
    """
    if isinstance(fault, IntegrityError):
        return False
    is_ours = isinstance(fault, DBAPIError | OSError | PoolTimeoutError)
    return is_ours or _sqlstate(fault) is not None


def is_passing(fault: Exception) -> bool:
    """Whether the same transaction may succeed in a moment."""
    state = _sqlstate(fault)
    if state is not None:
        return state in _RETRIED_SQLSTATES or state.startswith("08")
    if isinstance(fault, OSError | PoolTimeoutError):
        return True
    if isinstance(fault, DBAPIError) and fault.connection_invalidated:
        return True
    words = str(getattr(fault, "orig", "")).lower()
    if isinstance(fault, OperationalError) and ("locked" in words or "busy" in words):
        return True
    return isinstance(fault, InterfaceError) and "closed" in words


def is_lock_timeout(fault: Exception) -> bool:
    """Whether a statement waited in vain for somebody else's lock."""
    return _sqlstate(fault) == "55P03"


def _sqlstate(fault: Exception) -> str | None:
    state = getattr(getattr(fault, "orig", None) or fault, "sqlstate", None)
    return state if isinstance(state, str) else None


def plain_reason(fault: BaseException) -> str:
    """The driver's reason in a line, without statement, parameters or values."""
    cause = getattr(fault, "orig", None) or fault
    words = str(cause).split("\n", 1)[0]
    words = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\d{6,}", "…", words)
    return f"{type(cause).__name__}: {words[:200]}"


def driver_url(url: str, password: str | None = None) -> tuple[URL, StoreDialect]:
    """The URL with the async driver that serves it.

    Raises:
        ConfigurationError: it is not a URL, or names another database or driver.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as fault:
        raise ConfigurationError(
            "database.url: this is not a database URL",
            hint="use sqlite:///FILE or postgresql://USER@HOST/DATABASE",
        ) from fault
    dialect = dialect_named(parsed.get_backend_name())
    parsed = parsed.set(drivername=dialect.driver_url)
    if password is not None:
        parsed = parsed.set(password=password)
    return parsed, dialect


@asynccontextmanager
async def open_database(
    url: str,
    runtime: Runtime,
    *,
    password: str | None = None,
    patience_s: float = PATIENCE_S,
    idle_s: float = _IDLE_S,
) -> AsyncIterator[Database]:
    """The database for as long as the block lasts. Nothing is connected before it is used.

    Args:
        url: as configured.
        runtime: clock, sleep and randomness.
        password: instead of the one in the URL.
        patience_s: how long a write is tried again; on PostgreSQL a lock is waited for half of it.
        idle_s: PostgreSQL ends a transaction of ours that has stood still for so long: a process
            that was paused or cut off within one must not keep the lease's row locked for ever.

    Raises:
        ConfigurationError: the URL cannot be used, or the SQLite file's folder does not exist.
    """
    parsed, dialect = driver_url(url, password)
    # Last in, first out: each connection that is used keeps pages and statements of its own.
    options: dict[str, Any] = {"hide_parameters": True, "pool_use_lifo": True}
    outage, liveness = _Outage(), None
    if dialect.name == "sqlite":
        _check_folder(parsed)
        options |= {"connect_args": {"timeout": _BUSY_S}}
    else:
        liveness = Liveness(runtime, patience_s=patience_s, silent_since=outage.begin)
        settings = {
            "idle_in_transaction_session_timeout": f"{idle_s * 1000:.0f}",
            "lock_timeout": f"{max(patience_s / 2, _LOCK_S_MIN) * 1000:.0f}",
        }
        options |= {"pool_size": 4, "max_overflow": 4, "pool_timeout": 30}
        options |= {"pool_recycle": _CONNECTION_S_MAX}
        connecting = {"async_creator_fn": liveness.connect, "server_settings": settings}
        options |= {"connect_args": connecting}
    engine = create_async_engine(parsed, **options)
    if dialect.name == "sqlite":
        _sqlite_rules(engine)
    try:
        yield Database(
            engine=engine,
            dialect=dialect,
            runtime=runtime,
            gate=anyio.Semaphore(dialect.writers_max or 1_000),
            patience_s=patience_s,
            outage=outage,
            liveness=liveness,
        )
    finally:
        with anyio.CancelScope(shield=True):
            await _close(engine, liveness)


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


def _check_folder(url: URL) -> None:
    if url.database and url.database != ":memory:" and not Path(url.database).parent.is_dir():
        raise ConfigurationError(
            f"database.url: the folder {Path(url.database).parent} does not exist",
            hint="create it, or name another file",
        )


def _sqlite_rules(engine: AsyncEngine) -> None:
    """WAL, full durability, foreign keys; and transactions that begin when we say so.

    The driver's own transaction control begins late and never IMMEDIATE, which lets two writers
    read first and then deadlock (SQLAlchemy's SQLite page, "Serializable isolation").
    """

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        is_write = connection.get_execution_options().get("pts_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
