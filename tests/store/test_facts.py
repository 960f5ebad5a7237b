"""What a publication says in numbers: written once, and true when it was written."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.store.test_erase import erase as erase_person
from tests.support.report.stores import NEVER, key_of, missed, privacy, safety, seen
from tests.support.store_world import SAFETY, World, world_on
from worker.areas import AREAS
from worker.core.effect import in_effect_sql, instant_sql
from worker.core.guard import GuardLimits
from worker.core.model import FailureKind, RunKind
from worker.store.runs.retention import RetentionRules, purge

ANY = GuardLimits(max_removed_share=1.0, min_completeness=0.0, accept_removals=True)
CODES = ("", "N", "NORU", "NORN_EPO", "NORS", "NORN_NEW")
CAUSES = (None, "Manual", "Automated", "New", "Newer")
"""The last two are none of PTS's: the facts have one word for both."""
COHORTS = (None, "Nord", "Sør", "Øst")
COUNTED = (
    "roster",
    "confirmed",
    "stale",
    *(f"failed_{kind}" for kind in FailureKind),
    "joined",
    "departed",
    "persons_in_effect",
)
DAILY = (
    "SELECT area, code, level, cause, cohort, open, in_effect, persons, persons_in_effect "
    "FROM report_daily WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication) "
    "AND open > 0 ORDER BY 1, 2, 3, 4, 5"
)
BY_COHORT = (
    f"SELECT cohort, {', '.join(COUNTED)} FROM report_publication_cohort "
    "WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication)"
)
SUMS = [
    f"SELECT {', '.join(f'CAST(SUM({name}) AS BIGINT)' for name in COUNTED)} FROM report_{view} "
    "WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication)"
    for view in ("publication_cohort", "publication")
]
PEOPLE = (
    "SELECT roster, stale, joined, departed, persons_in_effect FROM report_publication "
    "ORDER BY publication_no DESC LIMIT 1"
)


async def publish(
    world: World, *reads, kind: RunKind = RunKind.SYNC, may_depart: bool = True
) -> None:
    may_depart = may_depart and kind == RunKind.SYNC
    await world.publish(*reads, kind=kind, limits=ANY, may_depart=may_depart)


async def facts(world: World) -> list[list[tuple[Any, ...]]]:
    """Every row of the facts that readers see."""
    views = (
        "report_daily",
        "report_publication",
        "report_daily_change",
        "report_publication_cohort",
    )
    return [sorted(await world.rows(f"SELECT * FROM {view}"), key=str) for view in views]


async def last_instant(world: World) -> datetime:
    ((at,),) = await world.rows("SELECT MAX(published_at) FROM report_publication")
    return datetime.fromisoformat(at) if isinstance(at, str) else at


async def counted(world: World) -> list[tuple[Any, ...]]:
    """What the views show at the last publication's instant, counted from all of it."""
    at = await last_instant(world)
    rows: list[tuple[Any, ...]] = []
    for area in AREAS:
        does = in_effect_sql(area.effect, "v", instant_sql(at))
        level, cause = (
            f"COALESCE({name}, '')" if name else "''"
            for name in (area.effect.level, area.effect.cause)
        )
        cause = f"CASE WHEN {cause} IN ('New', 'Newer') THEN 'other' ELSE {cause} END"
        found = await world.rows(
            f"SELECT COALESCE({area.effect.code}, ''), {level}, {cause}, COALESCE(cohort, ''), "
            f"COUNT(*), SUM(CASE WHEN {does} THEN 1 ELSE 0 END), COUNT(DISTINCT person_key), "
            f"COUNT(DISTINCT CASE WHEN {does} THEN person_key END) "
            f"FROM report_{area.table}_current v GROUP BY 1, 2, 3, 4"
        )
        rows += [(area.name, *row) for row in found]
    return sorted(rows)


def night(world: World, rng: random.Random, persons: range):
    """Reads of these persons; for some of them restrictions and a cohort are drawn anew."""
    now = world.fake.now()
    reads = []
    for number in persons:
        cohort = (COHORTS * 2)[number % 4 + (rng.random() < 0.2)]
        if rng.random() < 0.1:
            reads.append(missed(world, number, cohort=cohort))
            continue
        mine = random.Random(f"{number} {rng.random() < 0.3 and rng.random()}")
        safe = []
        for index in range(mine.randrange(4)):
            ends = mine.choice([None, NEVER, now + timedelta(hours=mine.randrange(-30, 60))])
            code, cause = mine.choice(CODES), mine.choice(CAUSES)
            safe.append(safety(f"s{number}-{index}", code, ends, cause=cause))
        private = tuple(
            privacy(
                f"p{number}-{index}",
                mine.choice(["Block", "Shield", "Odd"]),
                mine.choice(["Hard", "Soft"]),
                restricted_from=mine.choice([None, now + timedelta(hours=mine.randrange(-9, 60))]),
                restricted_to=mine.choice([None, NEVER, now + timedelta(hours=30)]),
            )
            for index in range(mine.randrange(3))
        )
        reads.append(seen(world, number, *safe, private=private, cohort=cohort))
    return reads


async def kept(world: World) -> dict[str, tuple[str, bool]]:
    """Cohort of everybody on the roster, and whether something of them is stale, by key."""
    rows = await world.rows(
        "SELECT person_key, COALESCE(cohort, ''), MAX(CASE WHEN is_stale THEN 1 ELSE 0 END) "
        "FROM report_person_freshness GROUP BY 1, 2"
    )
    return {key: (cohort, bool(stale)) for key, cohort, stale in rows}


async def people_by_cohort(
    world: World, before: dict[str, tuple[str, bool]]
) -> set[tuple[Any, ...]]:
    """The denominators of the last publication, counted from the views before and after it."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    after = await kept(world)
    for key, (cohort, is_stale) in after.items():
        counts = ["roster", "stale" if is_stale else "confirmed"]
        found[cohort].update([*counts, *(["joined"] if key not in before else [])])
    for key, (cohort, _) in before.items():
        found[cohort]["departed"] += key not in after
    at = instant_sql(await last_instant(world))
    does = " UNION ".join(
        f"SELECT cohort, person_key FROM report_{area.table}_current v "
        f"WHERE {in_effect_sql(area.effect, 'v', at)}"
        for area in AREAS
    )
    for (cohort,) in await world.rows(f"SELECT COALESCE(cohort, '') FROM ({does}) AS holders"):
        found[cohort]["persons_in_effect"] += 1
    failing = await world.rows(
        "SELECT DISTINCT person_key, failure_kind, COALESCE(cohort, '') "
        "FROM report_person_freshness WHERE failure_kind IS NOT NULL"
    )
    for _, kind, cohort in failing:
        found[cohort][f"failed_{kind}"] += 1
    return {
        (cohort, *(counts[name] for name in COUNTED))
        for cohort, counts in found.items()
        if any(counts.values())
    }


@pytest.mark.promise("2")
@pytest.mark.parametrize("seed", range(3))
async def test_counted_on_is_counted_from_all(database_url, seed):
    """Nights of changes, ends, departures, subsets and erasures: each fact is what the rows say.

    Persons change their cohort, fail, leave and return.
    """
    rng, before = random.Random(seed), 0
    async with world_on(database_url, our_clock=True) as world:
        for step in range(7):
            persons = range(rng.randrange(3), 14 + rng.randrange(6))
            kind = RunKind.BACKFILL if step in (3, 5) else RunKind.SYNC
            some = persons if kind == RunKind.SYNC else range(4, 9)
            if step == 2:  # a part of a roster that had an unreadable line
                some = range(3, 9)
            here = await kept(world)
            await publish(world, *night(world, rng, some), kind=kind, may_depart=step != 2)
            assert await counted(world) == sorted(await world.rows(DAILY))
            assert await people_by_cohort(world, here) == set(await world.rows(BY_COHORT))
            ((sums,), (totals,)) = [await world.rows(sql) for sql in SUMS]
            assert sums == totals
            roster, stale, joined, departed, holders = (await world.rows(PEOPLE))[0]
            assert await people(world) == (roster, stale)
            assert (before + joined - departed, True) == (roster, holders <= roster)
            before = roster
            if step in (1, 4):
                await erase_person(world, key_of(8))
                before -= 1
            world.fake.advance(rng.choice([3_600, 86_400]))


async def people(world: World) -> tuple[int, int]:
    """Persons, and those with something stale, as the freshness view has them."""
    ((persons, stale),) = await world.rows(
        "SELECT COUNT(DISTINCT person_key), COUNT(DISTINCT CASE WHEN is_stale THEN person_key END) "
        "FROM report_person_freshness"
    )
    return persons, stale


@pytest.mark.promise("2")
async def test_a_night_by_hand(database_url):
    """What came, changed and went by code; who failed, joined and departed; the day in Norway."""
    async with world_on(database_url, our_clock=True) as world:
        await publish(
            world,
            seen(world, 1, safety("a", "N"), safety("b", "NORU"), safety("c", "NORU")),
            seen(world, 2, safety("d", "NORU"), private=(privacy("e", "Block", "Hard"),)),
            seen(world, 3),
        )
        world.fake.advance(86_400)
        await publish(
            world,
            seen(world, 1, safety("a", "NORU"), safety("b", "NORU")),
            missed(world, 3),
            seen(world, 4, safety("f", "NORN_EPO", NEVER)),
        )
        rows = await world.rows(
            "SELECT day, area, code, level, restriction_group, open, in_effect, added, changed, "
            "removed, persons, persons_in_effect FROM report_daily WHERE publication_no = 2 "
            "ORDER BY area, code"
        )
        day = "2026-03-30"  # 22:18 in UTC is past midnight in Norway
        assert rows == [
            (day, "patient-privacy", "Block", "Hard", "blocked", 0, 0, 0, 0, 1, 0, 0),
            (day, SAFETY, "NORN_EPO", "", "denied", 1, 1, 1, 0, 0, 1, 1),
            (day, SAFETY, "NORU", "", "delayed", 2, 2, 0, 1, 2, 1, 1),
        ]
        people = await world.rows(
            "SELECT publication_no, kind, roster, confirmed, stale, failed_transient, "
            "failed_contract, joined, departed, persons_in_effect FROM report_publication "
            "ORDER BY 1"
        )
        assert people == [
            (1, "sync", 3, 3, 0, 0, 0, 3, 0, 2),
            (2, "sync", 3, 2, 1, 1, 0, 1, 1, 2),
        ]
        changes = await world.rows(
            "SELECT area, added, changed, removed FROM report_daily_change "
            "WHERE day = '2026-03-30' ORDER BY 1"
        )
        assert changes == [("patient-privacy", 0, 0, 1), (SAFETY, 1, 1, 2)]


@pytest.mark.promise("11")
async def test_nothing_changes_them(database_url):
    """Neither retention, nor an erasure, nor a clock that was wrong, nor a run that is undone."""
    async with world_on(database_url, our_clock=True) as world:
        for codes in ("N", "NORU"), ("NORU", "NORU"), *[("NORU",)] * 3:
            safe = [safety(f"k{number}", code) for number, code in enumerate(codes)]
            await publish(world, seen(world, 1, *safe), seen(world, 2, safety("x", "NORU")))
            world.fake.advance(40 * 86_400)
        before = await facts(world)
        rules = RetentionRules(versions=timedelta(days=1), runs=timedelta(days=1))
        purged = await purge(await world.lease(), rules)
        assert (purged.versions, purged.runs) >= (2, 1)
        await erase_person(world, key_of(2))
        world.fake.advance(-300 * 86_400)
        assert before == await facts(world)
        await publish(world, seen(world, 1, safety("k0", "NORU")))
        after = await facts(world)
        assert before[1] == after[1][:5]
        assert set(before[0]) < set(after[0])
        assert set(before[3]) < set(after[3])
        assert await counted(world) == sorted(await world.rows(DAILY))


@pytest.mark.parametrize("text", ["0" * 40, "16858399649", "a b", "Kari Nordmann", "x" * 33])
async def test_what_is_no_code_is_not_kept(database_url, text):
    """A text that does not look like a code is counted as ``other``, and is not written."""
    async with world_on(database_url, our_clock=True) as world:
        await publish(world, seen(world, 1, safety("a", text), safety("b", "NORN_NEW2")))
        assert await world.rows("SELECT code, restriction_group FROM report_daily ORDER BY 1") == [
            ("NORN_NEW2", "denied"),
            ("other", None),
        ]


async def test_a_person_with_two_texts_that_are_no_codes_is_one_person(database_url):
    """A number of few persons is not taken for a larger one."""
    async with world_on(database_url, our_clock=True) as world:
        odd = safety("a", "a b"), safety("b", "1"), safety("c", "NORN-123456", NEVER)
        sql = "SELECT open, persons FROM report_daily WHERE code = 'other' AND publication_no = {}"
        await publish(world, seen(world, 1, *odd), seen(world, 2, odd[0]))
        assert await world.rows(sql.format(1)) == [(4, 2)]
        await publish(world, seen(world, 1, odd[2]), seen(world, 2, odd[0]))
        assert await world.rows(sql.format(2)) == [(2, 2)]


@pytest.mark.promise("11")
async def test_a_withheld_run_leaves_none(database_url):
    """The facts are of the transaction that publishes."""
    from worker.errors import WithheldError

    async with world_on(database_url, our_clock=True) as world:
        reads = [seen(world, number, safety(f"s{number}", "NORU")) for number in range(20)]
        await publish(world, *reads)
        before = await facts(world)
        feed = await world.rows("SELECT * FROM report_change_feed")
        attempt = await world.begin()
        await attempt.write(*(seen(world, number) for number in range(20)))
        with pytest.raises(WithheldError):
            await attempt.publish()
        assert before == await facts(world)
        assert feed == await world.rows("SELECT * FROM report_change_feed")


@pytest.mark.promise("11")
async def test_the_day_is_norways(database_url):
    """Before and behind midnight in Oslo, in winter and summer."""
    days = []
    async with world_on(database_url, our_clock=True) as world:
        for month, hour in ((1, 22), (1, 23), (7, 21), (7, 22)):
            at = datetime(2027, month, 9, hour, 30, tzinfo=UTC)
            world.fake.advance((at - world.fake.now()).total_seconds())
            await publish(world, seen(world, 1))
        days = [day for (day,) in await world.rows("SELECT day FROM report_publication ORDER BY 1")]
    assert days == ["2027-01-09", "2027-01-10", "2027-07-09", "2027-07-10"]
