"""One writer: a lease with a fencing token, in the database itself (promise 4).

Each new holder increments the token. Every write transaction of a run first renews the lease under
its own token. A process that was paused past its lease finds another token and writes nothing. If a
takeover is in progress, the row lock makes it wait.

There is one row, which the migration makes; who takes the lease locks it first. Who finds it held
waits until its holder renews it, and so lives, or until it expires.
"""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import anyio
import structlog
from sqlalchemy import Row, Update, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.errors import LeaseHeldError, LeaseLostError, StoppedError, WorkerError
from worker.store.database import Database, execute
from worker.store.errors import is_lock_timeout
from worker.store.schema.tables import lease

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_POLL_S: Final = 1.0
_LOCK_S_MAX: Final = 10
"""How long to wait for a transaction of the holder that has locked the row."""


class Holder(Value, frozen=True, kw_only=True):
    """A process that may hold a lease.

    Attributes:
        holder_id: unique for each process.
        host: host name and process id, for messages.
    """

    holder_id: str
    host: str


def this_process(holder_id: str) -> Holder:
    """The calling process."""
    return Holder(holder_id=holder_id, host=f"{socket.gethostname()}, process {os.getpid()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that this process holds or has held, in one database."""

    database: Database = field(repr=False, compare=False)
    fencing_token: int
    holder: Holder
    ttl_s: float

    async def write(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Renew the lease and run ``work``, in one write transaction (``Database.write``).

        Raises:
            LeaseLostError: another holder took over; nothing was written.
        """

        async def fenced(connection: AsyncConnection) -> T:
            await self.renew(connection)
            return await work(connection, *args, **more)

        return await self.database.write(fenced)

    async def write_long(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Like ``write``, for what may last for longer than the lease, and is renewed at its end.

        Meanwhile the lock on its row, on SQLite the file's, keeps others out.

        Raises:
            LeaseLostError: another holder took over; nothing was written.
        """

        async def fenced(connection: AsyncConnection) -> T:
            await self.renew(connection)
            result = await work(connection)
            await self.renew(connection)
            return result

        return await self.database.lasting().write(fenced)

    async def keep(self) -> None:
        """Renew the lease while nothing is written.

        Raises:
            LeaseLostError: another holder took over.
        """
        await self.database.write(self.renew)

    async def renew(self, connection: AsyncConnection) -> None:
        """Check inside a write transaction that we own the lease; extend it by ``ttl_s``.

        Raises:
            LeaseLostError: another holder took over; the transaction must not commit.
        """
        expires_at = await self.database.now(connection) + timedelta(seconds=self.ttl_s)
        done = await connection.execute(self._update().values(expires_at=expires_at))
        if done.rowcount != 1:
            raise LeaseLostError(
                "another run took over the lease while this one was paused or disconnected",
                hint="nothing was lost; `pts-worker status` shows the run that continues",
            )

    async def release(self) -> None:
        """Release the lease if we still own it."""
        nobody = {"holder": None, "host": None, "expires_at": None}
        await self.database.write(execute, self._update().values(nobody))

    def _update(self) -> Update:
        """Of the lease's row, if we own it."""
        return update(lease).where(
            lease.c.fencing_token == self.fencing_token,
            lease.c.holder == self.holder.holder_id,
        )


async def acquire(database: Database, holder: Holder, *, ttl_s: float) -> Lease:
    """Take the lease if it is free or expired.

    Raises:
        LeaseHeldError: another process holds it; the message says which one and since when.
    """

    async def work(connection: AsyncConnection) -> Lease:
        row = await _lock_row(database, connection)
        now = await database.now(connection)
        is_own = row.holder == holder.holder_id
        if is_live(row, now) and not is_own:
            raise _held_error(row)
        token = row.fencing_token if is_own else row.fencing_token + 1
        await connection.execute(
            update(lease).values(
                fencing_token=token,
                holder=holder.holder_id,
                host=holder.host,
                acquired_at=now,
                expires_at=now + timedelta(seconds=ttl_s),
            )
        )
        return Lease(database=database, fencing_token=token, holder=holder, ttl_s=ttl_s)

    return await database.write(work)


def is_live(row: Row[Any], now: datetime) -> bool:
    """Whether the lease has a holder and has not expired."""
    return row.holder is not None and row.expires_at > now


async def _lock_row(database: Database, connection: AsyncConnection) -> Row[Any]:
    """Lock the lease's row until the transaction ends, and return it.

    Raises:
        LeaseHeldError: a transaction of the holder keeps the row locked; it is long or paused.
    """
    wanted = select(lease)
    seen = (await connection.execute(wanted)).one()
    if database.dialect.name == "postgresql":
        wait_s = min(_LOCK_S_MAX, database.lock_s_max())
        await connection.execute(text(f"SET LOCAL lock_timeout = {wait_s * 1000:.0f}"))
    try:
        return (await connection.execute(wanted.with_for_update())).one()
    except DBAPIError as error:
        if seen.holder is None or not is_lock_timeout(error):
            raise
        raise _held_error(seen, _AtWorkError) from None


class _AtWorkError(LeaseHeldError):
    """The holder is in a transaction."""


def _held_error(row: Row[Any], kind: type[LeaseHeldError] = LeaseHeldError) -> LeaseHeldError:
    """The error that names the holder of the lease."""
    return kind(
        f"another run holds the lease ({row.host}, since {row.acquired_at:%Y-%m-%d %H:%M:%S} UTC)",
        hint="wait until it ends; `pts-worker status` shows it",
    )


@asynccontextmanager
async def held_lease(
    database: Database,
    *,
    ttl_s: float,
    wait_s: float = 0.0,
    stop: anyio.Event | None = None,
) -> AsyncIterator[Lease]:
    """Acquire the lease; release it on exit.

    Args:
        wait_s: how long to wait while another process holds it.

    Raises:
        LeaseHeldError: another process still holds it.
        StoppedError: ``stop`` was set while waiting.
    """
    lease = await _acquire_in_time(database, ttl_s, wait_s, stop)
    try:
        yield lease
    finally:
        with anyio.CancelScope(shield=True):
            try:
                await lease.release()
            except WorkerError as error:  # it expires by itself, and committed work stands
                log.warning("lease.not_released", reason=error.message, expires_in_s=lease.ttl_s)


async def _acquire_in_time(
    database: Database,
    ttl_s: float,
    wait_s: float,
    stop: anyio.Event | None,
) -> Lease:
    runtime = database.runtime
    holder = this_process(runtime.new_id())
    started_s = runtime.monotonic()
    seen: Row[Any] | None = None
    while True:
        try:
            return await acquire(database, holder, ttl_s=ttl_s)
        except LeaseHeldError as error:
            row = await database.read(_row)
            waited_s = runtime.monotonic() - started_s
            # A lease of more than ours would last for so long, renewed or not: a clock was wrong.
            is_alive = isinstance(error, _AtWorkError) or waited_s > ttl_s
            is_alive = is_alive or (seen is not None and _has_moved(seen, row))
            if is_alive and waited_s >= wait_s:
                raise
            if stop is not None and stop.is_set():
                raise StoppedError("stopped while waiting for another run to end") from None
            if seen is None:
                log.warning("lease.waiting", reason=error.message, wait_s=wait_s)
                seen = row
            await runtime.sleep(_POLL_S)


def _has_moved(seen: Row[Any], row: Row[Any]) -> bool:
    """Whether its holder has renewed the lease, or another has taken it, since it was seen."""
    before, now = (seen.fencing_token, seen.expires_at), (row.fencing_token, row.expires_at)
    return row.holder is not None and before != now


async def _row(connection: AsyncConnection) -> Row[Any]:
    return (await connection.execute(select(lease))).one()
