"""Who holds the lease, and how long others wait to know whether its holder lives."""

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.store_world import World, world_on
from worker.errors import LeaseHeldError
from worker.store.runs.lease import Lease, acquire, held_lease

pytestmark = pytest.mark.promise("4")

OTHER = "other"


async def started(world: World) -> Lease | LeaseHeldError:
    """Try to start while somebody else may hold the lease."""
    try:
        async with held_lease(world.database) as lease:
            return lease
    except LeaseHeldError as error:
        return error


async def test_a_holder_that_is_gone_loses_it(database_url: str):
    """Nobody renews it any more: the start waits until it expires, and takes over."""
    async with world_on(database_url, our_clock=True) as world:
        await acquire(world.database, OTHER, ttl_s=50)
        began_s = world.fake.monotonic()
        found = await started(world)
        assert isinstance(found, Lease)
        assert found.fencing_token == 2
        assert 50 <= world.fake.monotonic() - began_s < 60


async def test_a_lease_that_never_expires(database_url: str):
    """A clock was wrong when it was taken: none lasts for so long, and it is over."""
    async with world_on(database_url, our_clock=True) as world:
        await acquire(world.database, OTHER, ttl_s=1_000_000)
        found = await started(world)
        assert isinstance(found, Lease)
        assert found.fencing_token == 2


async def test_a_holder_in_a_long_transaction_is_left_alone(postgresql_url: str):
    """Its lease may expire meanwhile: the row is locked, and after a minute the start ends."""
    async with world_on(postgresql_url) as world:
        lease = await acquire(world.database, OTHER, ttl_s=50)
        await world.rows_written("UPDATE lease SET expires_at = acquired_at")

        async def publish(_connection: AsyncConnection) -> Lease | LeaseHeldError:
            return await started(world)

        began_s = world.fake.monotonic()
        assert isinstance(await lease.write(publish), LeaseHeldError)
        assert 60 <= world.fake.monotonic() - began_s < 70
