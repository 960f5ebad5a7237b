"""One writer: a lease with a fencing token, in the database itself (promise 4).

The token grows by one with every new holder. Each write transaction of a run begins by renewing the
lease under its own token; a process that was paused past its lease finds the token gone, writes
nothing, and the row lock makes it wait for a takeover that is under way.

An ordinary run holds the row ``run``; the shards of a run hold ``run/0``, ``run/1``, … (PostgreSQL
only, see ``store.shards.assignments``). Every acquisition locks ``run`` first, so that an ordinary
run and shards, or shards of two runs, never hold leases at the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import OPEN_STATUSES
from worker.errors import LeaseHeldError, LeaseLostError
from worker.store.database import Database
from worker.store.errors import is_lock_timeout
from worker.store.runs.process_identity import Holder, has_died
from worker.store.schema.tables import attempt, lease, run

TTL_S_MAX: Final = 60.0
"""A dead holder elsewhere is taken over after at most this long (contract)."""

RUN: Final = "run"
"""The lease of an ordinary run; locked by whoever acquires any."""

_SHARDS: Final = f"{RUN}/%"
_FREE: Final = dict.fromkeys(
    ("holder", "host", "process", "expires_at", "run_key", "shards", "run_id", "share_per_hour")
)
_LOCK_S_MAX: Final = 10
"""How long to wait for a transaction of the holder's that keeps the row locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that this process holds, or held."""

    tenant_id: int
    name: str
    fencing_token: int
    holder: Holder
    ttl_s: float

    async def renew(self, database: Database, connection: AsyncConnection) -> None:
        """Prove inside a write transaction that we may write, and hold on for another ``ttl_s``.

        Raises:
            LeaseLostError: another holder took over; the transaction must not commit.
        """
        done = await connection.execute(
            update(lease)
            .where(
                lease.c.tenant_id == self.tenant_id,
                lease.c.name == self.name,
                lease.c.fencing_token == self.fencing_token,
                lease.c.holder == self.holder.holder_id,
            )
            .values(expires_at=database.dialect.later),
            database.later(self.ttl_s),
        )
        if done.rowcount != 1:
            raise LeaseLostError(
                "another run took over the lease while this one was paused or cut off",
                hint="nothing was lost; see `pts-worker status` for the run that goes on",
            )

    async def release(self, database: Database) -> None:
        """Give the lease back, if it is still ours."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                update(lease)
                .where(
                    lease.c.tenant_id == self.tenant_id,
                    lease.c.name == self.name,
                    lease.c.fencing_token == self.fencing_token,
                    lease.c.holder == self.holder.holder_id,
                )
                .values(_FREE)
            )

        await database.write(work)


async def acquire(
    database: Database, holder: Holder, *, tenant_id: int, name: str = RUN, ttl_s: float
) -> Lease:
    """Take the lease if it is free, expired, or its holder died on this machine.

    Shards that live keep it from us; those that do not lose their own.

    Raises:
        LeaseHeldError: another process holds it; the message says which and until when.
    """

    async def work(connection: AsyncConnection) -> Lease:
        row = await locked(database, connection, tenant_id, name)
        now = await database.now(connection)
        if database.dialect.name == "postgresql":  # where alone there are shards
            for other in await held_by_shards(connection, tenant_id):
                await displace(connection, other, now)
            await _reopen_parts(connection, tenant_id)
        return await take(connection, row, holder, now, ttl_s)

    return await database.write(work)


async def take(
    connection: AsyncConnection,
    row: Row[Any],
    holder: Holder,
    now: datetime,
    ttl_s: float,
    **more: Any,
) -> Lease:
    """Take a lease whose row is locked.

    Args:
        connection: in a transaction.
        row: the lease's row, as locked.
        holder: who takes it.
        now: the time that holders agree on.
        ttl_s: for how long.
        more: further columns to set.

    Raises:
        LeaseHeldError: another process holds it.
    """
    is_ours = row.holder == holder.holder_id
    if is_live(row, now) and not is_ours:
        raise held(row)
    token = row.fencing_token if is_ours else row.fencing_token + 1
    await connection.execute(
        update(lease)
        .where(lease.c.tenant_id == row.tenant_id, lease.c.name == row.name)
        .values(
            {
                **_FREE,
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
    return Lease(
        tenant_id=row.tenant_id, name=row.name, fencing_token=token, holder=holder, ttl_s=ttl_s
    )


def is_live(row: Row[Any], now: datetime) -> bool:
    """Whether somebody holds the lease who has given a sign of life and is not known to be dead."""
    if row.holder is None or row.expires_at <= now:
        return False
    return not has_died(row.host, row.process)


async def held_by_shards(connection: AsyncConnection, tenant_id: int) -> Sequence[Row[Any]]:
    """The leases of shards that somebody holds, dead or alive, always in the same order."""
    found = await connection.execute(
        select(lease)
        .where(
            lease.c.tenant_id == tenant_id, lease.c.name.like(_SHARDS), lease.c.holder.is_not(None)
        )
        .order_by(lease.c.name)
    )
    return found.all()


async def displace(connection: AsyncConnection, seen: Row[Any], now: datetime) -> None:
    """Take a lease from a holder that gives no sign of life; it can write no more.

    The caller's transaction has the lock on ``run``.

    Raises:
        LeaseHeldError: the holder lives.
    """
    if is_live(seen, now):
        raise held(seen)
    ours = (lease.c.tenant_id == seen.tenant_id, lease.c.name == seen.name)
    try:
        row = (await connection.execute(select(lease).where(*ours).with_for_update())).one()
    except DBAPIError as error:
        if not is_lock_timeout(error):
            raise
        raise held(seen) from None
    if is_live(row, now):
        raise held(row)
    await connection.execute(
        update(lease).where(*ours).values({**_FREE, "fencing_token": row.fencing_token + 1})
    )


async def _reopen_parts(connection: AsyncConnection, tenant_id: int) -> None:
    """Shards of an open run that have done their part must look at it again.

    The holder to be may continue their run, or take back or erase what they have read.
    """
    ours = select(run.c.run_id).where(
        run.c.tenant_id == tenant_id, run.c.status.in_(sorted(OPEN_STATUSES))
    )
    await connection.execute(
        update(attempt).where(attempt.c.is_done, attempt.c.run_id.in_(ours)).values(is_done=False)
    )


async def locked(
    database: Database, connection: AsyncConnection, tenant_id: int, name: str = RUN
) -> Row[Any]:
    """The lease's row, locked until the transaction ends.

    Raises:
        LeaseHeldError: a transaction of the holder's does not end; it may be long, or paused.
    """
    ours = select(lease).where(lease.c.tenant_id == tenant_id, lease.c.name == name)
    seen = (await connection.execute(ours)).one_or_none()
    if database.dialect.name == "postgresql":
        wait_s = min(_LOCK_S_MAX, database.lock_s_max())
        await connection.execute(text(f"SET LOCAL lock_timeout = {wait_s * 1000:.0f}"))
    try:
        if seen is None:
            # Not always: it would wait for any transaction that has renewed the lease.
            await connection.execute(
                database.dialect.insert(lease)
                .values(tenant_id=tenant_id, name=name, fencing_token=0)
                .on_conflict_do_nothing()
            )
        return (await connection.execute(ours.with_for_update())).one()
    except DBAPIError as error:
        if seen is None or seen.holder is None or not is_lock_timeout(error):
            raise
        raise held(seen) from None


def held(row: Row[Any]) -> LeaseHeldError:
    """The error that says who holds this lease."""
    other = Holder(holder_id=row.holder, host=row.host, process=row.process)
    who = "another run holds the lease"
    if row.shards is not None:
        index = row.name.rpartition("/")[2]
        who = f"shard {index}/{row.shards} of the run {row.run_key} holds its lease"
    return LeaseHeldError(
        f"{who} ({other.describe()}, since {row.acquired_at:%Y-%m-%d %H:%M:%S} UTC)",
        hint="wait for its end (`pts-worker status` shows it; `sync --wait 30m` waits by itself)",
    )
