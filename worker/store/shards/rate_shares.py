"""Divides the request ceiling among the live shards (PostgreSQL only).

Each lease row holds its shard's share. The sum of all shares never exceeds the ceiling: a shard
slows down before it writes a smaller share, and takes a larger one only under the lock on ``run``.
A dead shard's share counts until another shard takes it. A shard that was only paused sends
nothing in the meantime, because a share expires with the lease (``RateBudget.use``).
"""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.sharding import next_share
from worker.core.value import Value
from worker.ports import RateBudget
from worker.store.runs.lease import Lease, held_by_shards, is_live
from worker.store.schema.tables import lease


class _Shares(Value, frozen=True, kw_only=True):
    """How the ceiling is divided now, in requests per hour.

    Attributes:
        others: shares of all other shards, live or dead.
    """

    live: int
    own: int
    others: int


async def balance(own: Lease, budget: RateBudget, *, shards: int) -> None:
    """Renew the lease and adjust this shard's share to the number of live shards.

    Raises:
        LeaseLostError: another process took over this shard.
    """
    until_s = own.database.runtime.monotonic() + own.ttl_s

    def wanted(shares: _Shares) -> int:
        return next_share(
            total=budget.total_per_hour,
            shards=shards,
            live=shares.live,
            own=shares.own,
            others=shares.others,
        )

    async def grow(connection: AsyncConnection) -> int:
        await _take_from_the_dead(connection, own)
        shares = await _read_shares(connection, own)
        share = max(wanted(shares), shares.own)
        await _write_share(connection, own, share)
        return share

    shares = await own.write(_read_shares, own)
    share = wanted(shares)
    if share < shares.own:
        budget.use(share, until_s=until_s)
        await own.write(_write_share, own, share)
        return
    budget.use(shares.own, until_s=until_s)
    if shares.own < budget.total_per_hour // shares.live:
        budget.use(await own.write_alone(grow), until_s=until_s)


async def _read_shares(connection: AsyncConnection, own: Lease) -> _Shares:
    now = await own.database.now(connection)
    live, own_share, others = 1, 0, 0
    for row in await held_by_shards(connection):
        if row.name == own.name:
            own_share = row.share_per_hour
        else:
            live += is_live(row, now)
            others += row.share_per_hour
    return _Shares(live=live, own=own_share, others=others)


async def _write_share(connection: AsyncConnection, own: Lease, share: int) -> None:
    await connection.execute(
        update(lease).where(lease.c.name == own.name).values(share_per_hour=share)
    )


async def _take_from_the_dead(connection: AsyncConnection, own: Lease) -> None:
    """Set the shares of dead shards to 0. The caller has locked the lease ``run``."""
    now = await own.database.now(connection)
    for seen in await held_by_shards(connection):
        if seen.name == own.name or not seen.share_per_hour or is_live(seen, now):
            continue
        is_seen = lease.c.name == seen.name
        # A shard that is paused in a transaction keeps its share until the transaction ends.
        found = await connection.execute(
            select(lease).where(is_seen).with_for_update(skip_locked=True)
        )
        row = found.one_or_none()
        if row is not None and row.holder is not None and not is_live(row, now):
            await connection.execute(update(lease).where(is_seen).values(share_per_hour=0))
