"""Divides the ceiling on requests among the shards that live (PostgreSQL only).

Each lease has its holder's share, and the shares of all leases together never exceed the ceiling:
a shard goes slower before it says so, and takes more only under the lock on ``run``. The share of
a shard that died counts until it is taken from it; one that merely slept finds that out, and was
silent meanwhile, since no share may be used for longer than the lease lasts (``RateBudget.use``).
"""

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.sharding import next_share
from worker.ports import RateBudget
from worker.store.database import Database
from worker.store.runs.lease import Lease, held_by_shards, is_live, locked
from worker.store.schema.tables import lease


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """How the ceiling is divided at present, in requests an hour."""

    live: int
    own: int
    others: int


async def balance(database: Database, ours: Lease, budget: RateBudget, *, shards: int) -> None:
    """Renew the lease, and bring this shard's share to what it should be by now.

    Raises:
        LeaseLostError: another process took over this shard.
    """
    until_s = database.runtime.monotonic() + ours.ttl_s

    def wanted(standing: _Standing) -> int:
        return next_share(
            total=budget.total_per_hour,
            shards=shards,
            live=standing.live,
            own=standing.own,
            others=standing.others,
        )

    async def look(connection: AsyncConnection) -> _Standing:
        await ours.renew(database, connection)
        return await _standing(database, connection, ours)

    async def give(connection: AsyncConnection) -> None:
        await ours.renew(database, connection)
        await _write(connection, ours, share)

    async def grow(connection: AsyncConnection) -> int:
        await locked(database, connection, ours.tenant_id)
        await ours.renew(database, connection)
        await _take_from_the_dead(database, connection, ours)
        standing = await _standing(database, connection, ours)
        share = max(wanted(standing), standing.own)
        await _write(connection, ours, share)
        return share

    standing = await database.write(look)
    share = wanted(standing)
    if share < standing.own:
        budget.use(share, until_s=until_s)
        await database.write(give)
        return
    budget.use(standing.own, until_s=until_s)
    if standing.own < budget.total_per_hour // standing.live:
        budget.use(await database.write(grow), until_s=until_s)


async def _standing(database: Database, connection: AsyncConnection, ours: Lease) -> _Standing:
    now = await database.now(connection)
    live, own, others = 1, 0, 0
    for row in await held_by_shards(connection, ours.tenant_id):
        if row.name == ours.name:
            own = row.share_per_hour
        else:
            live += is_live(row, now)
            others += row.share_per_hour
    return _Standing(live=live, own=own, others=others)


async def _write(connection: AsyncConnection, ours: Lease, share: int) -> None:
    await connection.execute(
        update(lease)
        .where(lease.c.tenant_id == ours.tenant_id, lease.c.name == ours.name)
        .values(share_per_hour=share)
    )


async def _take_from_the_dead(database: Database, connection: AsyncConnection, ours: Lease) -> None:
    """Take the shares of shards that give no sign of life; the caller has the lock on ``run``."""
    now = await database.now(connection)
    for seen in await held_by_shards(connection, ours.tenant_id):
        if seen.name == ours.name or not seen.share_per_hour or is_live(seen, now):
            continue
        theirs = (lease.c.tenant_id == seen.tenant_id, lease.c.name == seen.name)
        # One that sleeps in the middle of a transaction keeps its share until that is ended.
        found = await connection.execute(
            select(lease).where(*theirs).with_for_update(skip_locked=True)
        )
        row = found.one_or_none()
        if row is not None and row.holder is not None and not is_live(row, now):
            await connection.execute(update(lease).where(*theirs).values(share_per_hour=0))
