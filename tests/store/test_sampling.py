"""What ``verify`` compares with is what readers see, and it cannot write."""

import pytest

from tests.support.store_world import PRIVACY, SAFETY, failed, read, record, world_on
from worker.errors import ConfigurationError
from worker.store.queries.sample import PublishedArea, forbid_writes, published_areas


async def test_it_is_the_published_state(sqlite_url):
    """Not what an open run has read, with gaps, and without who departed; then nothing is written.

    The database itself says no to a write.
    """
    keys = ("a", "b", "c", "d")
    async with world_on(sqlite_url) as world:
        await world.publish(*(read(world, key, f"x-{key}") for key in "abc"))
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x-a=N"), failed(world, "b"), read(world, "d", "z"))
        first = await published_areas(world.database, keys)
        empty = PublishedArea(records={}, is_complete=True)
        of = {
            key: PublishedArea(
                records={f"x-{key}": record(f"x-{key}").content_hash}, is_complete=True
            )
            for key in "abc"
        }
        assert first == {
            (key, area): of[key] if area == SAFETY else empty
            for key in "abc"
            for area in (SAFETY, PRIVACY)
        }
        await attempt.publish()
        second = await published_areas(world.database, keys)
        assert {key for key, _ in second} == {"a", "b", "d"}
        complete = {area: second["b", area].is_complete for area in (SAFETY, PRIVACY)}
        assert complete == {SAFETY: False, PRIVACY: True}
        forbid_writes(world.database)
        with pytest.raises(ConfigurationError, match=r"read-?only"):
            await world.rows_written("DELETE FROM failure")
        assert await published_areas(world.database, keys) == second
