"""A backfill reads persons again; what their clinic is called it does not know."""

from tests.support.store_world import read, world_on
from worker.core.model import RunKind


async def test_a_backfill_of_bare_identifiers_keeps_the_label(database_url):
    """Only a list that has a label gives a new one."""
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "x", ref="R1"), read(world, "b", "y", ref="R2"))
        await world.publish(
            read(world, "a", "x", ref=None), read(world, "b", "y", ref="R3"), kind=RunKind.BACKFILL
        )
        shown = "SELECT DISTINCT person_key, local_ref FROM report_person_freshness"
        assert {tuple(row) for row in await world.rows(shown)} == {("a", "R1"), ("b", "R3")}
        relabels = "SELECT count(*) FROM report_change_feed WHERE op = 'relabel'"
        assert [tuple(row) for row in await world.rows(relabels)] == [(1,)]


async def test_a_label_that_no_run_has_published_is_not_kept(database_url):
    """A run that was never published listed the person with a label; readers never saw it."""
    async with world_on(database_url) as world:
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x", ref="R1"))
        await world.publish(read(world, "a", "x", ref=None), kind=RunKind.BACKFILL)
        shown = "SELECT DISTINCT person_key, local_ref FROM report_person_freshness"
        assert [tuple(row) for row in await world.rows(shown)] == [("a", None)]
