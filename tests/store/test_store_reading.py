"""What ``status``, ``failures`` and ``explain`` read, on both databases."""

import pytest

from tests.support.report.stores import ANY, key_of
from tests.support.store_world import failed, person_named, read, world_on
from worker.core.model import RunKind
from worker.core.run import RunProgress
from worker.errors import FailureKind, WithheldError
from worker.store.persons import describe_person, list_failures
from worker.store.status import (
    area_staleness,
    departed_persons,
    read_published_state,
    withheld_run,
)


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
            failed(world, "dddd", FailureKind.CONTRACT),
        )  # fmt: skip
        counts = [(failure.kind, failure.persons) for failure in await attempt.store.failures()]
        assert counts == [("transient", 2), ("contract", 1)], "most frequent first"
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


@pytest.mark.promise("8")
@pytest.mark.parametrize(("identity", "lengths"), [("plain", {0}), ("pseudonym", {12, 64})])
async def test_who_is_named_to_people(sqlite_url, identity, lengths):
    """Failures, departures, examples of a withheld run: no key where the key is an identifier.

    Who is missing once is neither departed nor stale.
    """
    keys = [key_of(number) for number in range(10)]
    others = [("x1", "y1"), *((f"x{number}",) for number in range(2, 8))]
    async with world_on(sqlite_url) as world:
        await world.rows_written(f"UPDATE store_identity SET identity = '{identity}'")
        rest = [read(world, key, *held) for key, held in zip(keys, others, strict=False)]
        everyone = [*rest, failed(world, keys[7]), read(world, keys[8]), read(world, keys[9])]
        for count in (10, 9, 8):
            await world.publish(*everyone[:count], limits=ANY)
        database = world.database
        state = await read_published_state(database.read)
        assert (state.persons_stale, state.persons_known) == (1, 9)
        gaps = [(gap.persons, gap.stale) for gap in await database.read(area_staleness)]
        assert gaps == [(8, 1), (8, 0)]
        failures = await database.read(list_failures)
        departed = await database.read(departed_persons)
        assert (len(failures), len(departed)) == (1, 1)
        attempt = await world.begin()
        await attempt.write(*(read(world, key) for key in keys[:8]))
        with pytest.raises(WithheldError) as raised:
            await attempt.publish()
        await attempt.store.withhold(raised.value, RunProgress())
        withheld = await database.read(withheld_run)
        assert withheld is not None
        (area,) = withheld.areas
        assert (area.removed, len(area.examples)) == (8, 5)
        shown = [one.person_key for one in failures] + [one.person_key for one in departed]
        shown += [example.person for example in area.examples]
        assert {len(name or "") for name in shown} == lengths


async def test_the_longest_departed_person_is_first(sqlite_url):
    """Not the person with the lowest number."""
    async with world_on(sqlite_url) as world:
        everyone = [read(world, key, ref=f"R-{key}") for key in "abc"]
        for count in (3, 2, 1, 1):
            await world.publish(*everyone[:count], limits=ANY)
        departed = await world.database.read(departed_persons)
        assert [each.local_ref for each in departed] == ["R-c", "R-b"]


async def test_the_oldest_restriction_of_a_person_is_first(sqlite_url):
    """By the publication that opened it, and then by its id."""
    async with world_on(sqlite_url) as world:
        await world.publish(read(world, "a", "y"))
        await world.publish(read(world, "a", "y", "z", "x"))
        story = await world.database.read(describe_person, "a", 2)
        assert story is not None
        ids = [each["restriction_id"] for each in story["areas"][0]["restrictions"]]
        assert ids == ["y", "x", "z"]


async def test_labels_of_a_list_without_any(sqlite_url):
    """A backfill's list names identifiers alone, and labels stay; a roster's take them away."""
    labels = "SELECT local_ref, cohort FROM person"
    async with world_on(sqlite_url) as world:
        await world.publish(read(world, "a", "x", ref="R-1", cohort="Ward 3"))
        await world.publish(read(world, "a", "x"), kind=RunKind.BACKFILL)
        assert await world.rows(labels) == [("R-1", "Ward 3")]
        await world.publish(read(world, "a", "x"))
        assert await world.rows(labels) == [(None, None)]


async def test_a_resumed_run_takes_todays_labels(sqlite_url):
    """The roster of the last attempt counts, also for a person that an earlier attempt has read."""
    async with world_on(sqlite_url) as world:
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x", ref="R-1", cohort="Ward 3"))
        attempt = await world.begin()
        await attempt.store.drafts([person_named("a", "R-2", "Ward 4")], pass_number=1)
        await attempt.publish()
        assert await world.rows("SELECT local_ref, cohort FROM person") == [("R-2", "Ward 4")]


@pytest.mark.promise("1")
async def test_a_person_who_left_the_roster_between_two_attempts_is_missing(database_url):
    """Their read of the earlier attempt is not published: the last attempt's roster counts."""
    names = "SELECT person_key FROM person WHERE missed_no IS NOT NULL"
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "x"), read(world, "b", "y"))
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x", "new"), read(world, "b", "y"))
        attempt = await world.begin()
        await attempt.store.drafts([person_named("b")], pass_number=1)
        await attempt.publish()
        assert await world.rows(names) == [("a",)]
        assert {row[1] for row in await world.current()} == {"x", "y"}, "nothing new of a"


async def test_a_series_of_failures(sqlite_url):
    """It keeps its beginning and counts its runs, and ends with a read."""
    series = []
    async with world_on(sqlite_url) as world:
        for is_failed in (True, True, False, True):
            mine = failed(world, "a") if is_failed else read(world, "a", "x")
            await world.publish(mine, read(world, "b"), limits=ANY)
            world.fake.advance(86_400)
            failures = await world.database.read(list_failures)
            series += [
                (one.runs, *((world.fake.now() - at).days for at in (one.first_at, one.last_at)))
                for one in failures
            ]
    assert series == [(1, 1, 1), (2, 2, 1), (1, 1, 1)]
