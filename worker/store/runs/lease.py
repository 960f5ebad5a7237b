"""One writer: a lease with a fencing token, in the database itself (promise 4).

Each new holder increments the token. Every write transaction of a run first renews the lease under
its own token. If a process was paused until its lease expired and another one took over, the token
has changed, so the paused process writes nothing. The lock on the lease's row makes it wait while
the other process is taking over, and protects a transaction that runs longer than the lease.

The migration creates the only row, and acquiring the lease locks it. If another process has the
lease, a start waits until the holder renews it, which proves that the holder is alive, or until the
lease expires.
"""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import anyio
import structlog
from sqlalchemy import Row, bindparam, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import LeaseHeldError, LeaseLostError, StoppedError, WorkerError
from worker.store.database import IDLE_S, Database
from worker.store.schema.tables import lease

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_POLL_S: Final = 1.0
_TTL_MAX: Final = timedelta(seconds=60)
"""The longest ``lease.ttl_s``."""
_UPDATE_OWN: Final = update(lease).where(
    lease.c.fencing_token == bindparam("own_token"), lease.c.holder == bindparam("own_holder")
)
"""An update of the lease's row that changes it only if this process owns the lease."""
_RENEW: Final = _UPDATE_OWN.values(expires_at=bindparam("until"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """This process's lease on one database. Another process may have taken it over since.

    Attributes:
        holder: unique for each process.
    """

    database: Database = field(repr=False, compare=False)
    fencing_token: int
    holder: str
    ttl_s: float

    async def write(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Renew the lease and run ``work``, in one write transaction (``Database.write``).

        Raises:
            LeaseLostError: another holder took over. Nothing was written.
        """

        async def fenced(connection: AsyncConnection) -> T:
            await self.renew(connection)
            return await work(connection, *args, **more)

        return await self.database.write(fenced)

    async def renew(self, connection: AsyncConnection) -> None:
        """Check inside a write transaction that we own the lease, and extend it by ``ttl_s``.

        Raises:
            LeaseLostError: another holder took over. The transaction must not commit.
        """
        # One clock for all holders, so that no difference between machines ends a lease early.
        expires_at = await self.database.now(connection) + timedelta(seconds=self.ttl_s)
        renewed = await connection.execute(_RENEW, {**self._own(), "until": expires_at})
        if renewed.rowcount != 1:
            raise LeaseLostError(
                "another run took over the lease while this one was paused or disconnected",
                hint="nothing was lost; `pts-worker status` shows the run that continues",
            )

    async def release(self) -> None:
        """Release the lease if we still own it."""
        free = {"holder": None, "host": None, "expires_at": None}
        await self.database.write(AsyncConnection.execute, _UPDATE_OWN.values(free), self._own())

    def _own(self) -> Mapping[str, Any]:
        """The parameters of ``_UPDATE_OWN``."""
        return {"own_token": self.fencing_token, "own_holder": self.holder}


async def acquire(database: Database, holder: str, *, ttl_s: float) -> Lease:
    """Take the lease if it is free or expired.

    A lease that expires later than the longest possible lease was written by a wrong clock. It
    counts as free.

    Args:
        holder: unique for each process.

    Raises:
        LeaseHeldError: another process has the lease. The message names the process and the start.
    """

    async def work(connection: AsyncConnection) -> Lease:
        now = await database.now(connection)
        # If the acknowledgement was lost, the retry finds its own lease and keeps the token.
        is_own = lease.c.holder == holder
        expires_at = lease.c.expires_at
        is_expired = or_(expires_at <= now, expires_at > now + _TTL_MAX)
        free = select(lease.c.id).where(or_(lease.c.holder.is_(None), is_own, is_expired))
        taken = await connection.execute(
            update(lease)
            # Skip the row if it is locked, because its holder may be in a long transaction.
            .where(lease.c.id.in_(free.with_for_update(skip_locked=True).correlate(None)))
            .values(
                fencing_token=lease.c.fencing_token + case((is_own, 0), else_=1),
                holder=holder,
                host=f"{socket.gethostname()}, process {os.getpid()}",
                acquired_at=now,
                expires_at=now + timedelta(seconds=ttl_s),
            )
            .returning(lease.c.fencing_token)
        )
        token = taken.scalar_one_or_none()
        if token is None:
            raise _lease_held_error(await _row(connection))
        return Lease(database=database, fencing_token=token, holder=holder, ttl_s=ttl_s)

    return await database.write(work)


def _lease_held_error(row: Row[Any]) -> LeaseHeldError:
    since = f", since {row.acquired_at:%Y-%m-%d %H:%M:%S} UTC" if row.acquired_at else ""
    return LeaseHeldError(
        f"another run holds the lease ({row.host or 'it is just starting'}{since})",
        hint="wait until it ends, as `sync --wait 30m` does; `pts-worker status` shows it",
    )


@asynccontextmanager
async def held_lease(
    database: Database,
    *,
    ttl_s: float = IDLE_S,
    wait_s: float = 0.0,
    stop: anyio.Event | None = None,
) -> AsyncIterator[Lease]:
    """Acquire the lease, and release it on exit.

    Args:
        ttl_s: seconds until a lease that is not renewed expires.
        wait_s: seconds to wait for another process to release the lease.

    Raises:
        LeaseHeldError: another process still has the lease.
        StoppedError: ``stop`` was set while waiting.
    """
    lease = await _acquire_or_wait(database, ttl_s, wait_s, stop)
    try:
        yield lease
    finally:
        # Without the release, the next run would wait for the expiry.
        with anyio.CancelScope(shield=True):
            try:
                await lease.release()
            except WorkerError as error:  # it expires by itself, and committed work is safe
                log.warning("lease.not_released", reason=error.message, expires_in_s=lease.ttl_s)


async def _acquire_or_wait(
    database: Database,
    ttl_s: float,
    wait_s: float,
    stop: anyio.Event | None,
) -> Lease:
    runtime = database.runtime
    # One id for all attempts, so that `acquire` recognizes a lease that it took unnoticed.
    holder, started_s = runtime.new_id(), runtime.monotonic()
    seen: Row[Any] | None = None
    while True:
        try:
            return await acquire(database, holder, ttl_s=ttl_s)
        except LeaseHeldError as error:
            row = await database.read(_row)
            if seen is None:
                log.warning("lease.waiting", reason=error.message, wait_s=wait_s)
                seen = row
            is_renewed = row.holder is not None and row.expires_at != seen.expires_at
            # Without a renewal the holder may be dead, so wait until any lease has expired. If it
            # still has the lease after that, it is in a long transaction.
            wait_min_s = 0.0 if is_renewed else _TTL_MAX.total_seconds()
            if runtime.monotonic() - started_s > max(wait_s, wait_min_s):
                raise
            if stop is not None and stop.is_set():
                raise StoppedError("stopped while waiting for another run to end") from None
            await runtime.sleep(_POLL_S)


async def _row(connection: AsyncConnection) -> Row[Any]:
    return (await connection.execute(select(lease))).one()
