"""The report's facts from real stores."""

from datetime import timedelta

import pytest

from tests.support.acceptance.both_databases import BOTH
from tests.support.clock import START
from tests.support.report.stores import (
    ANY,
    NEVER,
    key_of,
    privacy,
    safety,
    seen,
    small_store,
)
from tests.support.store_world import world_on
from worker.core.model import RunKind
from worker.errors import ExitCode, UsageError
from worker.report.facts import read_facts
from worker.report.figures import ENDS, Amount, CodeKey, Movement, SnapshotState
from worker.store.queries.status import read_standing

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
            "denied": Amount(7, 6),
            "delayed": Amount(1, 1),
            "blocked": Amount(3, 3),
        }
        assert facts.codes == {
            CodeKey("denied", "patient-safety", "NORN_EPO", ""): Amount(6, 6),
            CodeKey("denied", "patient-safety", "NORN_FFL", ""): Amount(1, 1),
            CodeKey("delayed", "patient-safety", "NORU", ""): Amount(1, 1),
            CodeKey("blocked", "patient-privacy", "Block", "Hard"): Amount(3, 3),
        }


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_what_is_listed_after_its_end(database_url):
    """By the time since then, and how old what is in effect is; what restricts nothing is neither.

    A beginning to come is no end, and a time that PTS does not say is a place of its own.
    """
    async with world_on(database_url, our_clock=True) as world:
        now = world.fake.now()
        ago = [now - timedelta(days=days) for days in (1, 40, 200, 400)]
        await world.publish(
            seen(
                world,
                1,
                *(safety(f"d{n}", "NORU", at) for n, at in enumerate(ago)),
                *(
                    safety(f"a{n}", "NORN_EPO", NEVER, source_created_at=at)
                    for n, at in enumerate(ago)
                ),
                safety("n", "N", ago[0]),
                private=(privacy("f", "Block", "Hard", restricted_from=now + timedelta(days=1)),),
            ),
            seen(world, 2, safety("u", "NORN_EPO", NEVER), safety("e", "NORU", ago[3])),
        )
        rows = (await facts_of(world)).rows
    assert list(rows.expired) == [Amount(1, 1), Amount(1, 1), Amount(1, 1), Amount(2, 2)]
    assert list(rows.ages) == [Amount(1, 1)] * 5


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_what_came_and_went_in_a_week(database_url):
    """By group and by cohort, of seven days; nothing came with the first publication."""
    async with world_on(database_url, our_clock=True) as world:
        for day, keys in enumerate(("ab", "abc", "abcd", "bd")):
            denied = [safety(key, "NORN_EPO", NEVER) for key in keys]
            others = [safety("x", "NORS")] if day == 2 else []
            await world.publish(
                seen(world, 1, *denied, cohort="Nord"),
                seen(world, 2, *others, cohort="Sør"),
                seen(world, 3),
                limits=ANY,
            )
            world.fake.advance(4 * 86_400)
        facts = await facts_of(world)
        north = await facts_of(world, cohort="Nord")
    # Days 8 and 12: day 4 is more than a week before.
    both, one, none = Amount(2, 1), Amount(1, 1), Amount()
    assert facts.week == {
        "denied": Movement(one, none, both),
        "blocked": Movement(one, none, one),
    }
    assert {found.cohort: found.week for found in facts.cohorts} == {
        "Nord": Movement(one, none, both),
        "Sør": Movement(one, none, one),
        None: Movement(),
    }
    assert north.week == {"denied": Movement(one, none, both)}
    assert (north.last.roster, north.last.total) == (1, Amount(2, 1))
    assert (north.cohort, north.cohorts) == ("Nord", ())
    assert sum(north.rows.ages, Amount()) == Amount(2, 1)


async def test_a_cohort_that_nobody_knows_is_refused(sqlite_url):
    """A misspelt name does not make a report without patients."""
    async with world_on(sqlite_url) as world:
        await world.publish(seen(world, 1, cohort="Nord"))
        with pytest.raises(UsageError, match="nothing is published of a cohort 'Nrod'"):
            await facts_of(world, cohort="Nrod")


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_when_delays_end(database_url):
    """Of those in effect when they were published: within days, later, and without a known end."""
    async with world_on(database_url, our_clock=True) as world:
        now = world.fake.now()
        until = [now + timedelta(days=days) for days in (-1, 2, 6, 8, 83, 400)]
        delayed = [safety(f"d{index}", "NORU", at) for index, at in enumerate(until)]
        await world.publish(
            seen(world, 1, *delayed, safety("n", "NORN_EPO", NEVER)),
            seen(world, 2, safety("m", "NORU", NEVER), safety("l", "NORU", until[1])),
        )
        ends = (await facts_of(world)).rows
        assert dict(zip((*ENDS, "later", "unknown"), ends.ends, strict=True)) == {
            7: Amount(3, 2),
            30: Amount(1, 1),
            90: Amount(1, 1),
            365: Amount(0, 0),
            "later": Amount(1, 1),
            "unknown": Amount(1, 1),
        }


async def test_an_erasure_changes_no_figure_of_its_publication(sqlite_url):
    """Two reports of one publication have the same figures; the next night has all."""
    async with world_on(sqlite_url) as world:
        for keys in ("a", "ab", "a"):
            await _night(world, [safety(key, "NORU", NEAR) for key in keys])
            world.fake.advance(86_400)
        before = await facts_of(world)
        await world.erase(key_of(1))
        after = await facts_of(world)
        for name in ("nights", "codes", "causes", "latest"):
            assert getattr(after, name) == getattr(before, name), name
        assert None not in (before.rows, before.week)
        assert (after.rows, after.week) == (None, None)
        await _night(world)
        later = await facts_of(world)
        assert None not in (later.rows, later.week)


async def _night(world, *mine):
    """A person who changes, if they are there, and one who does not."""
    others = [safety("x", "NORU", NEAR), safety("y", "NORU", PAST)]
    await world.publish(
        *(seen(world, 1, *records) for records in mine), seen(world, 2, *others), limits=ANY
    )


async def test_what_stands_for_telemetry(sqlite_url):
    """The last success is older than the last publication, which had a gap."""
    async with world_on(sqlite_url) as world:
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
        assert later.last_success_at == standing.last_success_at
        assert later.last_published_at == standing.last_published_at


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
        assert (facts.last.publication_no, facts.last.total.restrictions) == (2, 11)
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
