"""What ``status``, ``failures`` and ``explain`` read, on both databases."""

from tests.support.report.stores import ANY
from tests.support.store_world import failed, read, world_on
from worker.core.run import RunProgress
from worker.errors import WithheldError
from worker.store.persons import list_failures


async def test_failures_of_a_withheld_run_are_shown_until_the_next_begins(database_url):
    """Those of its drafts, with the runs before. Readers of the views see the published ones.

    Persons who could be read are not among them while it is open; withheld, it has read nothing.
    """
    async with world_on(database_url) as world:
        await world.publish(
            read(world, "aaaa", "x"), failed(world, "cccc"), failed(world, "bbbb"), limits=ANY
        )
        world.fake.advance(86_400)
        second_night = world.fake.now()
        attempt = await world.begin()
        await attempt.write(
            failed(world, "aaaa"), failed(world, "bbbb"), read(world, "cccc", "y"),
            failed(world, "dddd"),
        )  # fmt: skip
        database = world.database
        found = {one.person_key: one.runs for one in await database.read(list_failures)}
        assert found == {"aaaa": 1, "bbbb": 2, "dddd": 1}
        failures = await database.read(list_failures)
        assert [one.person_key for one in failures] == ["bbbb", "aaaa", "dddd"], "longest first"
        assert [one.first_at < second_night for one in failures] == [True, False, False]
        await attempt.store.withhold(WithheldError("too many"), RunProgress())
        found = {one.person_key: one.runs for one in await database.read(list_failures)}
        assert found == {"aaaa": 1, "bbbb": 2, "cccc": 1, "dddd": 1}
        shown = "SELECT person_key FROM report_person_freshness WHERE failure_kind IS NOT NULL"
        assert {key for (key,) in await world.rows(shown)} == {"bbbb", "cccc"}
        await world.begin()
        found = {one.person_key: one.runs for one in await database.read(list_failures)}
        assert found == {"bbbb": 1, "cccc": 1}
