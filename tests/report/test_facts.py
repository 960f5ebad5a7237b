"""The report's facts from real stores."""

from datetime import timedelta

import pytest

from tests.support.clock import START
from tests.support.report.stores import (
    ANY,
    NEVER,
    key_of,
    privacy,
    safety,
    seen,
    small_store,
    withhold,
)
from tests.support.store_world import world_on
from worker.core.identity import NationalId
from worker.core.model import RunKind, RunStatus
from worker.errors import ExitCode
from worker.report.facts import read_facts
from worker.report.figures import Amount, CodeKey, SnapshotState
from worker.report.standing import read_standing
from worker.store.privacy.erasing import Mask, erase_traces, find_traces

PAST, NEAR = START - timedelta(days=1), START + timedelta(days=20)


async def facts_of(world, **options):
    return await read_facts(world.database.read, now=world.fake.now(), **options)


async def test_an_empty_store_has_facts_too(database_url):
    """Before the first publication there is no night, and the state says so."""
    async with world_on(database_url, our_clock=True) as world:
        facts = await facts_of(world)
        assert facts.state == SnapshotState.EMPTY
        assert (facts.published, facts.runs, facts.nights, facts.codes) == (None, (), (), {})
        standing = await read_standing(world.database.read)
        assert (
            standing.last_success_at,
            standing.last_published_at,
            standing.persons_stale,
        ) == (None, None, 0)


@pytest.mark.promise("2")
async def test_the_counts_of_a_published_run(database_url):
    """Restrictions by code and group, and persons, are those that the publication wrote down."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        facts = await facts_of(world)
        last = facts.last
        assert facts.state == SnapshotState.GAPS
        assert (facts.published.run_id, facts.published.exit_code) == (2, ExitCode.GAPS)
        assert (last.publication_no, last.roster, last.confirmed, last.stale) == (2, 10, 9, 1)
        assert last.failed == {"transient": 1}
        assert (last.in_effect, last.persons_in_effect) == (11, 9)
        assert {"denied": Amount(7, 6), "delayed": Amount(1, 1), "blocked": Amount(3, 3)} == (
            last.groups
        )
        standing = {key: code.in_effect for key, code in facts.codes.items() if key.group != "none"}
        assert {key: amount for key, amount in standing.items() if amount.restrictions} == {
            CodeKey("denied", "patient-safety", "NORN_EPO", ""): Amount(6, 6),
            CodeKey("denied", "patient-safety", "NORN_FFL", ""): Amount(1, 1),
            CodeKey("delayed", "patient-safety", "NORU", ""): Amount(1, 1),
            CodeKey("blocked", "patient-privacy", "Block", "Hard"): Amount(3, 3),
        }


async def test_all_that_stands_is_accounted_for(database_url):
    """From the rows to those in effect: no restriction by its code, and outside its time."""
    async with world_on(database_url, our_clock=True) as world:
        now = world.fake.now()
        later, earlier = now + timedelta(days=1), now - timedelta(days=1)
        await world.publish(
            seen(
                world,
                1,
                safety("a", "N"),
                safety("b", "N", earlier),
                safety("c", "NORU", earlier),
                safety("d", "NORU", later),
                safety("e", "unknown"),
                private=(
                    privacy("f", "Block", "Hard", restricted_from=later),
                    privacy("g", "Block", "Hard"),
                ),
            )
        )
        facts = await facts_of(world)
        stands = {key.group: code.open.restrictions for key, code in facts.codes.items()}
        assert stands == {"none": 2, "delayed": 2, "unknown": 1, "blocked": 2}
        assert (3, Amount(2, 1)) == (facts.last.in_effect, facts.ends.not_now)


async def test_delays_end_week_by_week(database_url):
    """Of those in effect when they were published: the twelve weeks, later, and never."""
    async with world_on(database_url, our_clock=True) as world:
        now = world.fake.now()
        until = [now + timedelta(days=days) for days in (-1, 2, 6, 8, 83, 90)]
        delayed = [safety(f"d{index}", "NORU", at) for index, at in enumerate(until)]
        await world.publish(
            seen(world, 1, *delayed, safety("n", "NORN_EPO", NEVER)),
            seen(world, 2, safety("m", "NORU", NEVER), safety("l", "NORU", until[1])),
        )
        ends = (await facts_of(world)).ends
        found = {week: amount for week, amount in enumerate(ends.weeks) if amount.restrictions}
        assert found == {0: Amount(3, 2), 1: Amount(1, 1), 11: Amount(1, 1)}
        assert (Amount(1, 1), Amount(1, 1), Amount(1, 1)) == (
            ends.later,
            ends.indefinite,
            ends.not_now,
        )


async def test_a_month_is_compared_with_the_night_before_it(database_url):
    """Thirty days before the last night, or up to a week more. A day has its last figures."""
    async with world_on(database_url, our_clock=True) as world:
        for night in range(6):
            records = [safety(f"s{number}", "NORN_EPO", NEVER) for number in range(night + 1)]
            await world.publish(seen(world, 1, *records))
            if night == 1:
                assert (await facts_of(world)).then is None
            world.fake.advance(60 if night == 4 else 8 * 86_400)
        facts = await facts_of(world)
        assert [night.in_effect for night in facts.nights] == [1, 2, 3, 4, 6]
        assert facts.then.publication_no == 1
        assert (facts.last.day - facts.then.day).days == 33
        assert [code.in_effect.restrictions for code in facts.codes_then.values()] == [1]


async def test_how_long_restrictions_stood(database_url):
    """The median of those that came and went; what was there at first is not of a known length."""
    async with world_on(database_url, our_clock=True) as world:
        for keys in ("a", "abcd", "ab", "", ""):
            await world.publish(
                seen(world, 1, *(safety(key, "N") for key in keys)), seen(world, 2), limits=ANY
            )
            world.fake.advance(2 * 86_400)
        (duration,) = (await facts_of(world)).durations
        assert ("patient-safety", Amount(3, 1), 2) == (
            duration.area,
            duration.amount,
            duration.median_days,
        )


async def test_an_erasure_changes_no_figure_of_its_publication(database_url):
    """Two reports of one publication have the same figures; the next night has all."""
    async with world_on(database_url, our_clock=True) as world:
        for keys in ("a", "ab", "a"):
            await _night(world, [safety(key, "NORU", NEAR) for key in keys])
            world.fake.advance(86_400)
        before = await facts_of(world)
        await _erase(world, key_of(1))
        after = await facts_of(world)
        for name in ("nights", "codes", "cohorts", "runs"):
            assert getattr(before, name) == getattr(after, name)
        assert before.ends.not_now == after.ends.not_now == Amount(1, 1)
        assert (
            before.is_altered,
            sum(week.restrictions for week in before.ends.weeks),
            len(before.durations),
        ) == (False, 2, 1)
        assert (
            after.is_altered,
            sum(week.restrictions for week in after.ends.weeks),
            after.durations,
        ) == (True, 0, ())
        await _night(world)
        last = await facts_of(world)
        assert (
            last.is_altered,
            sum(week.restrictions for week in last.ends.weeks),
        ) == (False, 1)


async def _night(world, *mine):
    """A person who changes, if they are there, and one who does not."""
    others = [safety("x", "NORU", NEAR), safety("y", "NORU", PAST)]
    await world.publish(
        *(seen(world, 1, *records) for records in mine), seen(world, 2, *others), limits=ANY
    )


async def _erase(world, key):
    lease = await world.lease()
    identifier = NationalId("16858399649")
    traces = await find_traces(world.database, key, identifier)
    await erase_traces(lease, traces, Mask(identifier, key))


async def test_a_withheld_run_is_listed_and_does_not_count(database_url):
    """The state is of the published run; the newest run of the list is the withheld one."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        before = await facts_of(world)
        world.fake.advance(2 * 86_400)
        await withhold(world, seen(world, 5))
        after = await facts_of(world)
        assert before.codes == after.codes
        assert before.published == after.published
        assert after.runs[0].status == RunStatus.WITHHELD
        assert len(after.withheld) == 1
        assert after.withheld[0] > after.last.day


@pytest.mark.parametrize(("wait", "state"), [(1, SnapshotState.COMPLETE), (27, SnapshotState.OLD)])
async def test_a_copy_grows_old(database_url, wait, state):
    """After ``fresh_within`` without a full run a complete copy is stale."""
    async with world_on(database_url, our_clock=True) as world:
        await world.publish(seen(world, 1, safety("a", "N")))
        world.fake.advance(wait * 3600)
        assert state == (await facts_of(world)).state


@pytest.mark.parametrize(
    ("ahead_s", "state"), [(200, SnapshotState.COMPLETE), (400, SnapshotState.FUTURE)]
)
async def test_a_copy_of_the_future_has_no_age(database_url, ahead_s, state):
    """A publication that a wrong clock dated later than now is not called complete."""
    async with world_on(database_url, our_clock=True) as world:
        await world.publish(seen(world, 1, safety("a", "N")))
        world.fake.set_wall_clock(world.fake.now() - timedelta(seconds=ahead_s))
        assert state == (await facts_of(world)).state


async def test_a_backfill_alone_is_no_complete_copy(database_url):
    """A part of the roster is not the roster."""
    async with world_on(database_url, our_clock=True) as world:
        await world.publish(seen(world, 1, safety("a", "N")), kind=RunKind.BACKFILL)
        facts = await facts_of(world)
        assert (
            facts.state,
            facts.last_sync,
            facts.published.kind,
        ) == (SnapshotState.GAPS, None, RunKind.BACKFILL)


async def test_what_stands_for_telemetry(database_url):
    """The last success is older than the last publication, which had a gap."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        standing = await read_standing(world.database.read)
        assert standing.last_published_at is not None
        assert standing.last_success_at is not None
        gap = standing.last_published_at - standing.last_success_at
        assert timedelta(days=1) < gap < timedelta(days=1, hours=1)
        assert standing.persons_stale == 1
        world.fake.set_wall_clock(world.fake.now() + timedelta(days=2))
        await world.publish(seen(world, 1, safety("a", "N")), kind=RunKind.BACKFILL)
        later = await read_standing(world.database.read)
        assert (standing.last_success_at, standing.last_published_at) == (
            later.last_success_at,
            later.last_published_at,
        )


@pytest.mark.promise("2")
async def test_the_facts_are_of_one_publication(database_url):
    """A run published while the report is read does not show in half of it."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)

        async def read(work):
            async def between(connection):
                return await work(_Interrupted(connection, world))

            return await world.database.read(between)

        facts = await read_facts(read, now=world.fake.now())
        assert facts.published is not None
        assert facts.published.run_id == 2
        assert (facts.last.publication_no, facts.last.in_effect) == (2, 11)
        assert (await facts_of(world)).published.run_id == 3


class _Interrupted:
    """A connection during whose second question another run is published."""

    def __init__(self, connection, world):
        self._connection, self._world, self._calls = connection, world, 0
        self.dialect = connection.dialect

    async def execute(self, *args, **options):
        self._calls += 1
        result = await self._connection.execute(*args, **options)
        if self._calls == 2:
            reads = [seen(self._world, number, safety(f"z{number}", "X")) for number in range(10)]
            await self._world.publish(*reads, limits=ANY)
        return result
