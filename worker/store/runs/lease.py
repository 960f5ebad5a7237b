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
from datetime import timedelta
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import anyio
import structlog
from sqlalchemy import Row, Update, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import LeaseHeldError, LeaseLostError, StoppedError, WorkerError
from worker.store.database import Database, execute
from worker.store.schema.tables import lease

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_POLL_S: Final = 1.0
_RENEWED_WITHIN_S: Final = 60.0
"""The longest ``lease.ttl_s``: a holder that has not renewed for so long is dead, whatever a clock
that was wrong has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that this process holds or has held, in one database.

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
            lease.c.holder == self.holder,
        )


async def acquire(
    database: Database, holder: str, *, ttl_s: float, dead: Row[Any] | None = None
) -> Lease:
    """Take the lease if it is free or expired.

    Args:
        holder: unique for each process.
        dead: the lease of a holder that does not renew it; it is free as long as it stands so.

    Raises:
        LeaseHeldError: another process holds it; the message says which one and since when.
    """

    async def work(connection: AsyncConnection) -> Lease:
        # PostgreSQL: the row is locked while its holder is in a transaction, which may be long.
        locked = await connection.execute(select(lease).with_for_update(skip_locked=True))
        row = locked.one_or_none()
        if row is None:
            raise _held_error(await _row(connection))
        now = await database.now(connection)
        is_own = row.holder == holder
        is_dead = dead is not None and not _has_moved(dead, row)
        is_live = row.holder is not None and row.expires_at > now
        if is_live and not is_own and not is_dead:
            raise _held_error(row)
        token = row.fencing_token if is_own else row.fencing_token + 1
        await connection.execute(
            update(lease).values(
                fencing_token=token,
                holder=holder,
                host=f"{socket.gethostname()}, process {os.getpid()}",
                acquired_at=now,
                expires_at=now + timedelta(seconds=ttl_s),
            )
        )
        return Lease(database=database, fencing_token=token, holder=holder, ttl_s=ttl_s)

    return await database.write(work)


def _held_error(row: Row[Any]) -> LeaseHeldError:
    """The error that names the holder of the lease."""
    since = f", since {row.acquired_at:%Y-%m-%d %H:%M:%S} UTC" if row.acquired_at else ""
    return LeaseHeldError(
        f"another run holds the lease ({row.host or 'it begins now'}{since})",
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
    holder = runtime.new_id()
    started_s = seen_s = runtime.monotonic()
    seen: Row[Any] | None = None
    while True:
        now_s = runtime.monotonic()
        dead = seen if now_s - seen_s > _RENEWED_WITHIN_S else None
        try:
            return await acquire(database, holder, ttl_s=ttl_s, dead=dead)
        except LeaseHeldError as error:
            row = await database.read(_row)
            has_moved = seen is not None and _has_moved(seen, row)
            # Not free though nobody renews it: its holder is in a long transaction.
            if (has_moved or dead is not None) and now_s - started_s >= wait_s:
                raise
            if stop is not None and stop.is_set():
                raise StoppedError("stopped while waiting for another run to end") from None
            if seen is None:
                log.warning("lease.waiting", reason=error.message, wait_s=wait_s)
            if seen is None or has_moved:
                seen, seen_s = row, now_s
            await runtime.sleep(_POLL_S)


def _has_moved(seen: Row[Any], row: Row[Any]) -> bool:
    """Whether its holder has renewed the lease, or another has taken it, since it was seen."""
    before, now = (seen.fencing_token, seen.expires_at), (row.fencing_token, row.expires_at)
    return row.holder is not None and before != now


async def _row(connection: AsyncConnection) -> Row[Any]:
    return (await connection.execute(select(lease))).one()
