"""Two tenants in one database: what one of them loses does not live on in the other."""

import pytest
from sqlalchemy import insert

from tests.store.test_store_scenarios import SAFETY, World, read, world_on
from worker.errors import WithheldError
from worker.store.queries.person import publication_at
from worker.store.schema.tables import VERSIONS, person, run, tenant

NEIGHBOUR = 2
THEIRS = 900


async def settle_neighbour(world: World, restriction_ids: list[str]) -> None:
    """Another tenant that holds the same patient: these restrictions are open and published."""
    now = world.fake.now()

    async def work(connection):
        await connection.execute(insert(tenant).values(tenant_id=NEIGHBOUR, name="neighbour"))
        await connection.execute(
            insert(run).values(
                run_id=THEIRS,
                tenant_id=NEIGHBOUR,
                kind="sync",
                status="published",
                areas="[]",
                started_at=now,
                published_at=now,
                publication_no=1,
                worker_version="0",
            )
        )
        await connection.execute(
            insert(person).values(
                person_id=THEIRS,
                tenant_id=NEIGHBOUR,
                person_key="theirs",
                first_run=THEIRS,
                local_ref_run=THEIRS,
            )
        )
        await connection.execute(
            insert(VERSIONS[SAFETY]),
            [
                {
                    "person_id": THEIRS,
                    "restriction_id": key,
                    "opened_run": THEIRS,
                    "first_seen_at": now,
                    "observed_at": now,
                    "content_hash": b"h" * 16,
                    "payload": "{}",
                }
                for key in restriction_ids
            ],
        )

    await world.database.write(work)


async def test_a_removal_is_one_though_a_neighbour_holds_the_restriction(database_url):
    """Ids are PTS's own: two hospitals with one patient hold the same, and that is no move."""
    keys = [f"R{number}" for number in range(20)]
    async with world_on(database_url) as world:
        first = await world.begin()
        await first.write(*(read(world, f"of {key}", key) for key in keys))
        await first.publish()
        await settle_neighbour(world, keys)
        second = await world.begin()
        await second.write(*(read(world, f"of {key}") for key in keys))
        with pytest.raises(WithheldError):
            await second.publish()


async def test_a_neighbours_publication_is_none_of_ours(database_url):
    """What readers saw at an instant is told of their own tenant's publications."""
    async with world_on(database_url) as world:
        await settle_neighbour(world, ["R1"])
        assert await publication_at(world.database, 1, world.fake.now()) is None
        theirs = await publication_at(world.database, NEIGHBOUR, world.fake.now())
        assert theirs is not None
        assert THEIRS == theirs.run_id
