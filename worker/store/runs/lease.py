"""One writer: a lease with a fencing token, in the database itself (promise 4).

Each new holder increments the token. Every write transaction of a run first renews the lease under
its own token. A process that was paused past its lease finds another token and writes nothing. If a
takeover is in progress, the row lock makes it wait.

An ordinary run holds the row ``run``; the shards of a run hold ``run/0``, ``run/1``, … (PostgreSQL
only, see ``store.shards.assignments``). Every acquisition locks ``run`` first, so that an ordinary
run and shards, or shards of two runs, never hold leases at the same time.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Row, Update, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import OPEN_STATUSES
from worker.errors import LeaseHeldError, LeaseLostError
from worker.store.database import Database, execute
from worker.store.errors import is_lock_timeout
from worker.store.runs.process_identity import Holder, has_died
from worker.store.schema.tables import attempt, lease, run

P = ParamSpec("P")
T = TypeVar("T")

RUN: Final = "run"
"""The lease of an ordinary run; every acquisition of any lease locks it."""

_SHARDS: Final = f"{RUN}/%"
FREE: Final = dict.fromkeys(
    ("holder", "host", "process", "expires_at", "run_key", "shards", "run_id", "share_per_hour")
)
"""The columns of a lease that nobody holds."""
_LOCK_S_MAX: Final = 10
"""How long to wait for a transaction of the holder that has locked the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that this process holds or has held, in one database."""

    database: Database = field(repr=False, compare=False)
    name: str
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

    async def write_alone(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """The same under the lock on the lease ``run``, for what concerns all shards.

        Raises:
            LeaseHeldError: a transaction of its holder keeps it locked.
        """

        async def locked(connection: AsyncConnection) -> T:
            await lock_lease(self.database, connection)
            await self.renew(connection)
            return await work(connection)

        return await self.database.write(locked)

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
        done = await connection.execute(
            self._update().values(expires_at=self.database.dialect.later),
            self.database.later(self.ttl_s),
        )
        if done.rowcount != 1:
            raise LeaseLostError(
                "another run took over the lease while this one was paused or disconnected",
                hint="nothing was lost; `pts-worker status` shows the run that continues",
            )

    async def release(self) -> None:
        """Release the lease if we still own it."""
        await self.database.write(execute, self._update().values(FREE))

    def _update(self) -> Update:
        """Of the lease's row, if we own it."""
        return update(lease).where(
            lease.c.name == self.name,
            lease.c.fencing_token == self.fencing_token,
            lease.c.holder == self.holder.holder_id,
        )


async def acquire(database: Database, holder: Holder, *, ttl_s: float) -> Lease:
    """Take the lease ``run`` if it is free, expired, or its holder died on this machine.

    A live shard prevents it; dead shards lose their leases.

    Raises:
        LeaseHeldError: another process holds it; the message says which one and since when.
    """

    async def work(connection: AsyncConnection) -> Lease:
        row = await lock_lease(database, connection)
        now = await database.now(connection)
        if database.dialect.name == "postgresql":  # only PostgreSQL has shards
            for shard_lease in await held_by_shards(connection):
                await displace(connection, shard_lease, now)
            await _reopen_finished_shards(connection)
        return await take(database, connection, row, holder, now, ttl_s=ttl_s)

    return await database.write(work)


async def take(
    database: Database,
    connection: AsyncConnection,
    row: Row[Any],
    holder: Holder,
    now: datetime,
    *,
    ttl_s: float,
    **more: Any,
) -> Lease:
    """Take a lease whose row is locked.

    Args:
        now: the database's time, which all holders share.
        more: further columns to set.

    Raises:
        LeaseHeldError: another process holds it.
    """
    is_own = row.holder == holder.holder_id
    if is_live(row, now) and not is_own:
        raise lease_held_error(row)
    token = row.fencing_token if is_own else row.fencing_token + 1
    await connection.execute(
        update(lease)
        .where(lease.c.name == row.name)
        .values(
            {
                **FREE,
                "fencing_token": token,
                "holder": holder.holder_id,
                "host": holder.host,
                "process": holder.process,
                "acquired_at": now,
                "expires_at": now + timedelta(seconds=ttl_s),
                **more,
            }
        )
    )
    return Lease(database=database, name=row.name, fencing_token=token, holder=holder, ttl_s=ttl_s)


def is_live(row: Row[Any], now: datetime) -> bool:
    """Whether the lease has a holder, has not expired, and its holder is not known to be dead."""
    if row.holder is None or row.expires_at <= now:
        return False
    return not has_died(row.host, row.process)


async def held_by_shards(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Shard leases that have a holder, live or dead, ordered by name."""
    found = await connection.execute(
        select(lease)
        .where(lease.c.name.like(_SHARDS), lease.c.holder.is_not(None))
        .order_by(lease.c.name)
    )
    return found.all()


async def displace(connection: AsyncConnection, seen: Row[Any], now: datetime) -> None:
    """Take a lease away from a dead holder, which can then no longer write.

    The caller's transaction has locked the lease ``run``.

    Raises:
        LeaseHeldError: the holder is live.
    """
    if is_live(seen, now):
        raise lease_held_error(seen)
    is_seen = lease.c.name == seen.name
    try:
        row = (await connection.execute(select(lease).where(is_seen).with_for_update())).one()
    except DBAPIError as error:
        if not is_lock_timeout(error):
            raise
        raise lease_held_error(seen) from None
    if is_live(row, now):
        raise lease_held_error(row)
    await connection.execute(
        update(lease).where(is_seen).values({**FREE, "fencing_token": row.fencing_token + 1})
    )


async def _reopen_finished_shards(connection: AsyncConnection) -> None:
    """Mark finished shards of open runs as not done, so that they check their persons again.

    The next holder may continue their run, or undo or erase what they have read.
    """
    open_runs = select(run.c.run_id).where(run.c.status.in_(sorted(OPEN_STATUSES)))
    await connection.execute(
        update(attempt)
        .where(attempt.c.is_done, attempt.c.run_id.in_(open_runs))
        .values(is_done=False)
    )


async def lock_lease(database: Database, connection: AsyncConnection, name: str = RUN) -> Row[Any]:
    """Lock the lease's row until the transaction ends, and return it.

    Raises:
        LeaseHeldError: a transaction of the holder keeps the row locked; it is long or paused.
    """
    wanted = select(lease).where(lease.c.name == name)
    seen = (await connection.execute(wanted)).one_or_none()
    if database.dialect.name == "postgresql":
        wait_s = min(_LOCK_S_MAX, database.lock_s_max())
        await connection.execute(text(f"SET LOCAL lock_timeout = {wait_s * 1000:.0f}"))
    try:
        if seen is None:
            # Only if it is missing: an insert waits for every transaction that renewed the lease.
            await connection.execute(
                database.dialect.insert(lease)
                .values(name=name, fencing_token=0)
                .on_conflict_do_nothing()
            )
        return (await connection.execute(wanted.with_for_update())).one()
    except DBAPIError as error:
        if seen is None or seen.holder is None or not is_lock_timeout(error):
            raise
        raise lease_held_error(seen) from None


def lease_held_error(row: Row[Any]) -> LeaseHeldError:
    """The error that names the holder of this lease."""
    holder = Holder(holder_id=row.holder, host=row.host, process=row.process)
    who = "another run holds the lease"
    if row.shards is not None:
        index = row.name.rpartition("/")[2]
        who = f"shard {index}/{row.shards} of the run {row.run_key} holds its lease"
    return LeaseHeldError(
        f"{who} ({holder.describe()}, since {row.acquired_at:%Y-%m-%d %H:%M:%S} UTC)",
        hint="wait until it ends; `pts-worker status` shows it",
    )
