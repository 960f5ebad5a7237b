"""The report's facts from real stores."""

from datetime import timedelta

import msgspec
import pytest

from tests.support.clock import START
from tests.support.made_databases import BOTH
from tests.support.report.stores import (
    ANY,
    NEVER,
    interrupted,
    key_of,
    missed,
    privacy,
    safety,
    seen,
    small_store,
)
from tests.support.store_world import world_on
from worker.core.model import RunKind
from worker.core.run import RunProgress
from worker.errors import ExitCode, UsageError
from worker.report.facts import read_facts
from worker.report.figures import Amount, CodeKey, SnapshotState
from worker.store.status import read_published_state

PAST, NEAR = START - timedelta(days=1), START + timedelta(days=20)


async def facts_of(world, **options):
    return await read_facts(world.database.read, now=world.fake.now(), **options)


@pytest.mark.promise("2")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
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
        assert last.total == Amount(11, 9)
        assert last.groups == {
            "denied": Amount(7, 7),
            "delayed": Amount(1, 1),
            "blocked": Amount(3, 3),
        }
        assert facts.codes == {
            CodeKey("denied", "NORN_EPO", ""): Amount(6, 6),
            CodeKey("denied", "NORN_FFL", ""): Amount(1, 1),
            CodeKey("delayed", "NORU", ""): Amount(1, 1),
            CodeKey("blocked", "Block", "Hard"): Amount(3, 3),
        }
        assert facts.ends == {"ends_90": Amount(1, 1)}
        assert facts.expired == {"age_30": Amount(1, 1)}
        assert facts.ages == {"age_unknown": Amount(11, 9)}


async def test_a_cohort_that_nobody_knows_is_refused(sqlite_url):
    """A misspelt name does not make a report without patients; those that there are are named."""
    async with world_on(sqlite_url) as world:
        await world.publish(seen(world, 1))
        with pytest.raises(UsageError) as refused:
            await facts_of(world, cohort="Nrod")
        assert "no person on the roster has a cohort" in refused.value.hint
        await world.publish(seen(world, 1, cohort="Sør"), seen(world, 2, cohort="Nord"))
        with pytest.raises(UsageError, match="no publication has a cohort 'Nrod'") as refused:
            await facts_of(world, cohort="Nrod")
        assert refused.value.hint == "the cohorts are Nord, Sør"


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_persons_are_counted_once(database_url):
    """Who has two codes of a group, or one by two causes, is one person of the group and the code.

    Three persons by one code and three by another are six of their group.
    """
    async with world_on(database_url, our_clock=True) as world:
        codes = ["NORN_EPO"] * 3 + ["NORN_FFL"] * 3
        both = [
            safety(f"b{cause}", "NORN_EPO", NEVER, cause=cause) for cause in ("Manual", "Automated")
        ]
        rule = safety("r", "NORU", delay_days=14)
        await world.publish(
            *(seen(world, n, safety(f"s{n}", code, NEVER), cohort="Nord")
              for n, code in enumerate(codes)),
            seen(world, 6, *both, safety("c", "NORN_FFL", NEVER), rule, cohort="Nord"),
            seen(world, 7, rule, cohort="Sør"),
        )  # fmt: skip
        facts = await facts_of(world)
        north = await facts_of(world, cohort="Nord")
    assert facts.last.of("denied") == north.last.of("denied") == Amount(9, 7)
    assert facts.codes == north.codes == {
        CodeKey("denied", "NORN_EPO", ""): Amount(5, 4),
        CodeKey("denied", "NORN_FFL", ""): Amount(4, 4),
    }  # fmt: skip
    assert (facts.last.pending, north.last.pending) == (Amount(2, 2), Amount(1, 1))
    assert facts.last.total == Amount(9, 7)


async def test_a_row_of_the_report_counts_its_persons_once(sqlite_url):
    """Three persons with one unknown level and three with another are six of "unknown code".

    So are three without a cause and three with the code for "not stated".
    """
    async with world_on(sqlite_url) as world:
        levels, causes = ["Hard"] * 3 + ["Soft"] * 3, [None] * 3 + ["Undefined"] * 3
        await world.publish(
            *(
                seen(
                    world,
                    n,
                    safety(f"s{n}", "NORN_EPO", NEVER, cause=cause),
                    private=(privacy(f"p{n}", "Odd", level),),
                )
                for n, (level, cause) in enumerate(zip(levels, causes, strict=True))
            )
        )
        facts = await facts_of(world)
    assert facts.codes[CodeKey("unknown", "other", "")] == Amount(6, 6)
    assert facts.causes == {"Undefined": Amount(6, 6)}


@pytest.mark.promise("11")
async def test_an_erasure_changes_no_figure_of_its_publication(sqlite_url):
    """Erasing a person between two reports of the same publication changes neither."""
    async with world_on(sqlite_url) as world:
        for keys in ("a", "ab", "a"):
            mine = [safety(key, "NORU", NEAR) for key in keys]
            others = [safety("x", "NORU", NEAR), safety("y", "NORU", PAST)]
            await world.publish(seen(world, 1, *mine), seen(world, 2, *others), limits=ANY)
            world.fake.advance(86_400)
        before = await facts_of(world)
        await world.erase(key_of(1))
        after = await facts_of(world)
        assert before.week
        assert after == msgspec.structs.replace(before, made_at=after.made_at)


async def test_a_clinic_without_gaps_is_called_complete(sqlite_url):
    """Where another clinic has one. A line that could not be read may be of any clinic."""
    gaps, complete = SnapshotState.GAPS, SnapshotState.COMPLETE
    async with world_on(sqlite_url) as world:
        for faults in (0, 1):
            reads = [seen(world, 1, cohort="Nord"), missed(world, 2, cohort="Sør")]
            await world.publish(*reads, limits=ANY, faults=faults)
            found = [(await facts_of(world, cohort=cohort)).state for cohort in (None, "Nord")]
            assert found == [gaps, gaps if faults else complete]
            await world.publish(seen(world, 2, cohort="Sør"), kind=RunKind.BACKFILL)
            assert (await facts_of(world)).state == (gaps if faults else complete)


async def test_a_copy_is_old_after_a_missed_night(sqlite_url):
    """From 26 hours on: a day, and two hours for a run that took longer."""
    async with world_on(sqlite_url, our_clock=True) as world:
        await world.publish(seen(world, 1))
        nothing_to_read = (await world.begin(RunKind.BACKFILL)).store
        await nothing_to_read.abandon(ExitCode.OK, "nothing to read", RunProgress())
        assert (await facts_of(world)).latest.run_id == 1, "an abandoned run changes nothing"
        published_at = (await facts_of(world)).published.published_at
        for hours, state in (25.9, SnapshotState.COMPLETE), (26.1, SnapshotState.OLD):
            now = published_at + timedelta(hours=hours)
            assert (await read_facts(world.database.read, now=now)).state == state


@pytest.mark.parametrize(
    ("days", "is_compared", "shown"),
    [(29, False, 2), (30, True, 2), (37, True, 2), (38, False, 2), (91, False, 2), (92, False, 1)],
)
async def test_how_far_the_report_looks_back(sqlite_url, days, is_compared, shown):
    """The last night is compared with one 30 to 37 days before; the trend has 92 days."""
    async with world_on(sqlite_url, our_clock=True) as world:
        world.fake.advance(43_200)  # to noon, as a day in the spring has 23 hours
        await world.publish(seen(world, 1))
        world.fake.advance(days * 86_400)
        await world.publish(seen(world, 1))
        facts = await facts_of(world)
    assert (facts.then is not None, len(facts.nights)) == (is_compared, shown)


async def test_the_nearest_night_is_compared(sqlite_url):
    """Of nights 36 and 32 days before, the later one."""
    async with world_on(sqlite_url, our_clock=True) as world:
        world.fake.advance(43_200)
        for days in (4, 32, 0):
            await world.publish(seen(world, 1))
            world.fake.advance(days * 86_400)
        facts = await facts_of(world)
    assert facts.then is not None
    assert facts.then.publication_no == 2


async def test_what_stands_for_telemetry(sqlite_url):
    """The last success is older than the last publication, which had a gap."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        state = await read_published_state(world.database.read)
        assert state.last_published_at is not None
        assert state.last_success_at is not None
        gap = state.last_published_at - state.last_success_at
        assert timedelta(days=1) < gap < timedelta(days=1, hours=1)
        assert state.persons_stale == 1
        assert state.persons_known > state.persons_stale
        world.fake.set_wall_clock(world.fake.now() + timedelta(days=2))
        await world.publish(seen(world, 1, safety("a", "N")), kind=RunKind.BACKFILL)
        later = await read_published_state(world.database.read)
        assert later.last_success_at == state.last_success_at
        assert later.last_published_at == state.last_published_at


@pytest.mark.promise("2")
async def test_the_facts_are_of_one_publication(database_url):
    """A run published while the report is read does not show in half of it."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        facts = await read_facts(interrupted(world), now=world.fake.now())
        assert facts.published is not None
        assert facts.published.run_id == 2
        assert (facts.last.publication_no, facts.last.total.restrictions) == (2, 11)
        assert (await facts_of(world)).published.run_id == 3
