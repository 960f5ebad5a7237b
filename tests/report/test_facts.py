"""The report's facts from real stores."""

from datetime import timedelta

import pytest

from tests.report.support import (
    NEVER,
    key_of,
    missed,
    privacy,
    safety,
    seen,
    small_store,
)
from tests.store.test_store_scenarios import world_on
from worker.core.model import RunKind, RunStatus
from worker.errors import ExitCode
from worker.report.facts import read_facts, read_standing
from worker.report.figures import CodeCount, DelayFacts, SnapshotState
from worker.store.runs.undo import undo_run


async def facts_of(world, **options):
    return await read_facts(world.database.read, now=world.fake.now(), **options)


async def test_an_empty_store_has_facts_too(database_url):
    """Before the first publication every count is 0 and the state says so."""
    async with world_on(database_url, our_clock=True) as world:
        facts = await facts_of(world)
        assert SnapshotState.EMPTY == facts.state
        assert (None, None, ()) == (facts.published, facts.age, facts.runs)
        assert (0, 0, ()) == (facts.persons, facts.persons_stale, facts.days)
        standing = await read_standing(world.database.read)
        assert (None, None, 0) == (
            standing.last_success_at,
            standing.last_published_at,
            standing.persons_stale,
        )


async def test_the_counts_of_a_published_run(database_url):
    """Restrictions by code, persons, stale ones and delays are those of the last publication."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        facts = await facts_of(world)
        assert SnapshotState.GAPS == facts.state
        assert (10, 1) == (facts.persons, facts.persons_stale)
        assert (2, ExitCode.GAPS) == (facts.published.run_id, facts.published.exit_code)
        safe, private = facts.areas
        assert (8, 8, 10, 1) == (safe.restrictions, safe.holders, safe.persons, safe.persons_stale)
        assert (3, 3, 10, 0) == (
            private.restrictions,
            private.holders,
            private.persons,
            private.persons_stale,
        )
        assert {"NORN_EPO": 6, "NORN_FFL": 1, "NORU": 1} == {
            count.code: count.restrictions for count in facts.safety
        }
        assert {"NORU": 1} == {count.code: count.stale for count in facts.safety if count.stale}
        assert (CodeCount(code="Block", level="Hard", restrictions=3, stale=0),) == facts.privacy
        assert DelayFacts(over=1, within_7_days=0, within_30_days=0, later=1, indefinite=7) == (
            facts.delays
        )


async def test_all_that_stands_is_accounted_for(database_url):
    """From the rows to those in effect: no restriction by its code, over, still to begin."""
    async with world_on(database_url, our_clock=True) as world:
        now = world.fake.now()
        later, earlier = now + timedelta(days=1), now - timedelta(days=1)
        turn = await world.begin()
        await turn.write(
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
        await turn.publish()
        safe, private = (await facts_of(world)).areas
        assert [(5, 2, 1, 0, 2), (2, 0, 0, 1, 1)] == [
            (area.open, area.restricting_nothing, area.ended, area.not_begun, area.restrictions)
            for area in (safe, private)
        ]


async def test_delays_that_end_soon(database_url):
    """The seven days are part of the thirty."""
    async with world_on(database_url, our_clock=True) as world:
        now = world.fake.now()
        turn = await world.begin()
        until = [now + timedelta(days=days) for days in (-1, 2, 6, 20, 40)]
        delayed = [safety(f"d{index}", "NORU", at) for index, at in enumerate(until)]
        await turn.write(seen(world, 1, *delayed, safety("n", "NORN_EPO", NEVER)))
        await turn.publish()
        assert DelayFacts(over=1, within_7_days=2, within_30_days=3, later=1, indefinite=1) == (
            (await facts_of(world)).delays
        )


async def test_ages_of_the_last_confirmation(database_url):
    """Every person-area is in one class; one never read whole is in the last."""
    async with world_on(database_url, our_clock=True) as world:
        turn = await world.begin()
        await turn.write(missed(world, 1), seen(world, 2), seen(world, 3))
        await turn.publish()
        for _ in range(2):
            world.fake.advance(86_400 * 1.5)
            turn = await world.begin()
            await turn.write(missed(world, 1), missed(world, 2), seen(world, 3))
            await turn.publish()
        safe, private = (await facts_of(world)).areas
        assert (1, 0, 1, 0, 0, 1) == safe.ages
        assert (3, 0, 0, 0, 0, 0) == private.ages


async def test_days_without_a_change_are_days_too(database_url):
    """What stood open on a day is reckoned back from what stands open now."""
    async with world_on(database_url, our_clock=True) as world:
        for codes in ({"a": "N"}, {}, {"a": "NORU", "b": "N"}):
            turn = await world.begin()
            records = [safety(key, code) for key, code in codes.items()]
            await turn.write(seen(world, 1, *records), seen(world, 2, safety("x", "N")))
            if not codes:
                await turn.writer.apply([])
            await turn.publish(limits=_any())
            world.fake.advance(2 * 86_400)
        days = [day for day in (await facts_of(world)).days if day.area == "patient-safety"]
        none = (0, 0, 0)  # in Norway the second and third are published past midnight
        assert [(2, 0, 0), none, none, (0, 0, 1), none, (2, 0, 0), none, none] == [
            (day.added, day.changed, day.removed) for day in days
        ]
        assert [2, 2, 2, 1, 1, 3, 3, 3] == [day.open_after for day in days]


def _any():
    from worker.core.guard import GuardLimits

    return GuardLimits(max_removed_share=1.0, min_completeness=0.0, accept_removals=True)


async def test_a_withheld_run_is_listed_and_does_not_count(database_url):
    """The state is of the published run; the newest run of the list is the withheld one."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        before = await facts_of(world)
        turn = await world.begin()
        await turn.write(seen(world, 5))
        await undo_run(
            world.database,
            turn.lease,
            turn.writer.handle.run_id,
            status=RunStatus.WITHHELD,
            exit_code=ExitCode.WITHHELD,
            reason="too many removals",
        )
        after = await facts_of(world)
        assert before.safety == after.safety
        assert before.published == after.published
        assert (RunStatus.WITHHELD, "too many removals") == (
            after.runs[0].status,
            after.runs[0].reason,
        )


@pytest.mark.parametrize(("wait", "state"), [(1, SnapshotState.COMPLETE), (27, SnapshotState.OLD)])
async def test_a_copy_grows_old(database_url, wait, state):
    """After ``fresh_within`` without a full run a complete copy is stale."""
    async with world_on(database_url, our_clock=True) as world:
        turn = await world.begin()
        await turn.write(seen(world, 1, safety("a", "N")))
        await turn.publish()
        world.fake.advance(wait * 3600)
        assert state == (await facts_of(world)).state


async def test_a_backfill_alone_is_no_complete_copy(database_url):
    """A part of the roster is not the roster."""
    async with world_on(database_url, our_clock=True) as world:
        turn = await world.begin(RunKind.BACKFILL)
        await turn.write(seen(world, 1, safety("a", "N")))
        await turn.publish(may_depart=False)
        facts = await facts_of(world)
        assert (SnapshotState.GAPS, None, RunKind.BACKFILL) == (
            facts.state,
            facts.last_sync,
            facts.published.kind,
        )


async def test_stale_persons_are_named_as_asked(database_url):
    """By the beginning of the pseudonym, or by the local reference if the operator asks."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        (stale,) = (await facts_of(world)).stale
        assert (f"p-{key_of(2)[:8]}", "patient-safety", "transient", 1) == (
            stale.label,
            stale.area,
            stale.failure_kind,
            stale.failed_runs,
        )
        (stale,) = (await facts_of(world, include_local_ref=True)).stale
        assert "R-2" == stale.label


async def test_what_stands_for_telemetry(database_url):
    """The last success is older than the last publication, which had a gap."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        standing = await read_standing(world.database.read)
        assert standing.last_published_at is not None
        assert standing.last_success_at is not None
        gap = standing.last_published_at - standing.last_success_at
        assert timedelta(days=1) < gap < timedelta(days=1, hours=1)
        assert 1 == standing.persons_stale


async def test_another_tenant_has_none_of_it(database_url):
    """Counts keep to the tenant that is asked for."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        facts = await facts_of(world, tenant="somebody else")
        assert (SnapshotState.EMPTY, 0, ()) == (facts.state, facts.persons, facts.safety)


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
        assert 2 == facts.published.run_id
        assert {"NORN_EPO": 6, "NORN_FFL": 1, "NORU": 1} == {
            count.code: count.restrictions for count in facts.safety
        }
        assert 3 == (await facts_of(world)).published.run_id


class _Interrupted:
    """A connection during whose second question another run is published."""

    def __init__(self, connection, world):
        self._connection, self._world, self._calls = connection, world, 0
        self.dialect = connection.dialect

    async def execute(self, *args, **options):
        self._calls += 1
        result = await self._connection.execute(*args, **options)
        if self._calls == 2:
            turn = await self._world.begin()
            reads = [seen(self._world, number, safety(f"z{number}", "X")) for number in range(10)]
            await turn.write(*reads)
            await turn.publish(limits=_any())
        return result
