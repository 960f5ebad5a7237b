"""What ``verify`` compares with is what readers see, and it cannot write."""

import pytest
from sqlalchemy import text

from tests.support.store_world import PRIVACY, SAFETY, World, failed, read, record, world_on
from worker.errors import ConfigurationError
from worker.store.queries.sample import PublishedArea, forbid_writes, published_areas

Published = dict[tuple[str, str], PublishedArea]


async def published(world: World, *keys: str) -> Published:
    return dict(await published_areas(world.database, keys or ("a", "b", "c")))


async def views(world: World) -> Published:
    """The same, put together from the reporting views."""
    found = {}
    for key, area, is_stale in await world.rows(
        "SELECT person_key, area, is_stale FROM report_person_freshness"
    ):
        table = area.replace("-", "_")
        rows = await world.rows(
            "SELECT v.restriction_id, v.content_hash "
            f"FROM report_{table}_current r JOIN {table}_version v "
            "ON v.restriction_id = r.restriction_id AND v.payload = r.payload "
            f"WHERE r.person_key = '{key}'"
        )
        hashes = {name: bytes(value) for name, value in rows}
        found[key, area] = PublishedArea(records=hashes, is_complete=not is_stale)
    return found


async def test_it_is_the_published_state(database_url):
    """Through publications, a failure, an open run and a departure it equals the views."""
    async with world_on(database_url) as world:
        assert await published(world) == {}
        attempt = await world.begin()
        await attempt.write(*(read(world, key, f"x-{key}", f"y-{key}") for key in "abc"))
        assert await published(world) == {}
        await attempt.publish()
        first = await published(world)
        assert {(key, area) for key in "abc" for area in (SAFETY, PRIVACY)} == set(first)
        hashes = {name: record(name).content_hash for name in ("x-a", "y-a")}
        assert PublishedArea(records=hashes, is_complete=True) == first["a", SAFETY]
        assert first == await views(world)
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x-a=N"), failed(world, "b"), read(world, "d", "z"))
        assert first == await published(world)
        await attempt.publish()
        second = await published(world)
        assert {key for key, _ in second} == {"a", "b"}
        assert (
            second["b", SAFETY].is_complete,
            second["b", PRIVACY].is_complete,
        ) == (False, True)
        assert await views(world) == await published(world, "a", "b", "c", "d")


async def test_writes_are_refused_by_the_database(database_url):
    """After ``forbid_writes`` the database itself says no; reading goes on."""
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "x"))
        forbid_writes(world.database)

        async def write(connection):
            await connection.execute(text("DELETE FROM failure"))

        with pytest.raises(ConfigurationError, match=r"read-?only"):
            await world.database.write(write)
        assert len(await published(world)) == 2
