"""One writer: a lease with a fencing token, in the database itself (promise 4).

The token grows by one with every new holder. Each write transaction of a run begins by renewing the
lease under its own token; a process that was paused past its lease finds the token gone, writes
nothing, and the row lock makes it wait for a takeover that is under way.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import LeaseHeldError, LeaseLostError
from worker.store.database import Database, is_lock_timeout
from worker.store.holder import Holder, has_died
from worker.store.tables import lease

TTL_S_MAX: Final = 60.0
"""A dead holder elsewhere is taken over after at most this long (contract)."""

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
        now = await database.now(connection)
        done = await connection.execute(
            update(lease)
            .where(
                lease.c.tenant_id == self.tenant_id,
                lease.c.name == self.name,
                lease.c.fencing_token == self.fencing_token,
                lease.c.holder == self.holder.holder_id,
            )
            .values(expires_at=now + timedelta(seconds=self.ttl_s))
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
                .values(holder=None, host=None, process=None, expires_at=None)
            )

        await database.write(work)


async def acquire(
    database: Database, holder: Holder, *, tenant_id: int, name: str = "run", ttl_s: float
) -> Lease:
    """Take the lease if it is free, expired, or its holder died on this machine.

    Raises:
        LeaseHeldError: another process holds it; the message says which and until when.
    """

    async def work(connection: AsyncConnection) -> Lease:
        row = await _locked(database, connection, tenant_id, name)
        now = await database.now(connection)
        values = {
            "holder": holder.holder_id,
            "host": holder.host,
            "process": holder.process,
            "acquired_at": now,
            "expires_at": now + timedelta(seconds=ttl_s),
        }
        is_ours = row.holder == holder.holder_id
        is_free = row.holder is None or is_ours or row.expires_at <= now
        if not is_free and not has_died(row.host, row.process):
            raise _held(row)
        token = row.fencing_token if is_ours else row.fencing_token + 1
        await connection.execute(
            update(lease)
            .where(lease.c.tenant_id == tenant_id, lease.c.name == name)
            .values(fencing_token=token, **values)
        )
        return Lease(
            tenant_id=tenant_id, name=name, fencing_token=token, holder=holder, ttl_s=ttl_s
        )

    return await database.write(work)


async def _locked(
    database: Database, connection: AsyncConnection, tenant_id: int, name: str
) -> Row[Any]:
    """The lease's row, locked until the transaction ends.

    Raises:
        LeaseHeldError: a transaction of the holder's does not end; it may be long, or paused.
    """
    ours = select(lease).where(lease.c.tenant_id == tenant_id, lease.c.name == name)
    seen = (await connection.execute(ours)).one_or_none()
    if database.dialect.name == "postgresql":
        await connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_S_MAX}s'"))
    try:
        if seen is None:
            # Not always: it would wait for any transaction that has renewed the lease.
            await connection.execute(
                database.dialect.insert(lease)
                .values(tenant_id=tenant_id, name=name, fencing_token=0)
                .on_conflict_do_nothing()
            )
        return (await connection.execute(ours.with_for_update())).one()
    except DBAPIError as fault:
        if seen is None or seen.holder is None or not is_lock_timeout(fault):
            raise
        raise _held(seen) from None


def _held(row: Row[Any]) -> LeaseHeldError:
    other = Holder(holder_id=row.holder, host=row.host, process=row.process)
    return LeaseHeldError(
        f"another run holds the lease ({other.describe()}, since "
        f"{row.acquired_at:%Y-%m-%d %H:%M:%S} UTC)",
        hint="wait for it (`--wait 30m`), or look at `pts-worker status`",
    )
