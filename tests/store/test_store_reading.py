"""What ``status``, ``failures`` and ``explain`` read, on both databases."""

from tests.support.report.stores import ANY
from tests.support.store_world import PRIVACY, SAFETY, World, failed, read, world_on
from worker.core.model import RunKind
from worker.errors import WithheldError
from worker.store.persons import list_failures
from worker.store.status import area_staleness


async def stale_in_view(world: World) -> dict[str, tuple[int, int]]:
    """Persons and stale persons of each area, by the reporting view."""
    rows = await world.rows(
        "SELECT area, count(*), sum(CASE WHEN is_stale THEN 1 ELSE 0 END) "
        "FROM report_person_freshness GROUP BY area"
    )
    return {area: (persons, int(stale)) for area, persons, stale in rows}


async def stale_as_read(world: World) -> dict[str, tuple[int, int]]:
    return {one.area: (one.persons, one.stale) for one in await world.database.read(area_staleness)}


async def test_gaps_are_those_of_the_reporting_view(database_url):
    """Counted once for an area or once for a person: the same, whatever a run has left behind."""
    async with world_on(database_url) as world:
        assert await stale_as_read(world) == {}
        await world.publish(read(world, "a", "x"), read(world, "b", "y"), failed(world, "c"))
        assert await stale_as_read(world) == {SAFETY: (3, 1), PRIVACY: (3, 0)}
        assert await stale_as_read(world) == await stale_in_view(world)
        # A backfill cures one person; the next full run does not meet another at all.
        await world.publish(read(world, "c", "z"), kind=RunKind.BACKFILL)
        assert await stale_as_read(world) == await stale_in_view(world)
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x"), failed(world, "b"))
        assert await stale_as_read(world) == await stale_in_view(world)
        await attempt.publish(may_depart=False)
        assert await stale_as_read(world) == {SAFETY: (3, 2), PRIVACY: (3, 1)}
        assert await stale_as_read(world) == await stale_in_view(world)
        # And one who has departed, after two rosters without them, is not counted.
        for _ in range(2):
            await world.publish(read(world, "a", "x"), read(world, "b", "y"))
        assert await stale_as_read(world) == {SAFETY: (2, 0), PRIVACY: (2, 0)}
        assert await stale_as_read(world) == await stale_in_view(world)


async def test_failures_of_a_withheld_run_are_shown_until_the_next_begins(database_url):
    """Those of its drafts, with the runs before. Readers of the views see the published ones.

    Who could be read is none of them while the run is open; withheld, it has read nothing.
    """
    async with world_on(database_url) as world:
        await world.publish(
            read(world, "aaaa", "x"), failed(world, "bbbb"), failed(world, "cccc"), limits=ANY
        )
        attempt = await world.begin()
        await attempt.write(
            failed(world, "aaaa"), failed(world, "bbbb"), read(world, "cccc", "y"),
            failed(world, "dddd"),
        )  # fmt: skip
        database = world.database
        found = {one.person_key: one.runs for one in await database.read(list_failures)}
        assert found == {"aaaa": 1, "bbbb": 2, "dddd": 1}
        await attempt.store.withhold(WithheldError("too many"))
        found = {one.person_key: one.runs for one in await database.read(list_failures)}
        assert found == {"aaaa": 1, "bbbb": 2, "cccc": 1, "dddd": 1}
        shown = "SELECT person_key FROM report_person_freshness WHERE failure_kind IS NOT NULL"
        assert {key for (key,) in await world.rows(shown)} == {"bbbb", "cccc"}
        await world.begin()
        found = {one.person_key: one.runs for one in await database.read(list_failures)}
        assert found == {"bbbb": 1, "cccc": 1}
