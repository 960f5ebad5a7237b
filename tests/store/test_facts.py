"""What a publication says in numbers: written once, and true when it was written."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.report.counted import (
    DAILY,
    FIGURES,
    FLOWS,
    PEOPLE,
    counted,
    counted_figures,
    counted_flows,
    counted_people,
    drawn_night,
    held,
    last_instant,
    open_by_area,
)
from tests.support.report.stores import key_of, publish, safety, seen
from tests.support.store_world import World, read, world_on
from worker.core.model import RunKind
from worker.store.runs.ledger import purge
from worker.store.status import area_staleness
from worker.views import view_columns

LAST = "WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication)"


FACTS = (
    "report_daily",
    "report_publication",
    "report_publication_cohort",
    "report_publication_figure",
)


async def facts(world: World) -> list[list[tuple[Any, ...]]]:
    """Every row of the facts that readers see, but which publication is the last one."""
    found = []
    for view in FACTS:
        names = [column.name for column in view_columns()[view] if "is_last" not in column.name]
        rows = await world.rows(f"SELECT {', '.join(names)} FROM {view}")
        found.append(sorted(rows, key=str))
    return found


@pytest.mark.promise("2")
@pytest.mark.parametrize("more", [0, pytest.param(1, marks=pytest.mark.nightly)])
async def test_counted_on_is_counted_from_all(database_url, more):
    """Nights of changes, ends, departures, subsets and erasures: each fact is what the rows say.

    Persons change their cohort, fail, leave and return. Each database has nights of its own.
    """
    rng = random.Random(f"{database_url.partition(':')[0]} {more}")
    by_cohort = (
        f"SELECT COALESCE(cohort, ''), {', '.join(PEOPLE)} FROM report_publication_cohort {LAST}"
    )
    totals = f"SELECT {', '.join(PEOPLE)} FROM report_publication {LAST}"
    before = 0
    async with world_on(database_url, our_clock=True) as world:
        for step in range(6):
            persons = range(rng.randrange(3), 14 + rng.randrange(6))
            kind = RunKind.BACKFILL if step == 3 else RunKind.SYNC
            some = persons if kind == RunKind.SYNC else range(4, 9)
            if step == 2:  # a part of a roster that had an unreadable line
                some = range(3, 9)
            here = await held(world)
            reads = drawn_night(world, rng, some)
            await publish(world, *reads, kind=kind, is_full_roster=step != 2)
            assert sorted(await world.rows(DAILY)) == await counted(world)
            assert set(await world.rows(FIGURES)) == await counted_figures(world)
            cohorts = set(await world.rows(by_cohort))
            assert cohorts == await counted_people(world, here)
            (total,) = await world.rows(totals)
            assert total == tuple(map(sum, zip(*(row[1:] for row in cohorts), strict=True)))
            counts = dict(zip(PEOPLE, total, strict=True))
            held_now = counts["roster"] + counts["missing"]
            assert counts["roster"] == counts["confirmed"] + counts["stale"]
            assert held_now == before + counts["joined"] - counts["departed"]
            before = held_now
            if step in (1, 4):
                await world.erase(key_of(8))
                before -= 1
            world.fake.advance(rng.choice([3_600, 86_400, 4 * 86_400]))


@pytest.mark.promise("11")
async def test_flows_add_up_to_stocks(database_url):
    """Restrictions that came, went, joined, departed and expired, over nights of all of these."""
    rng = random.Random(f"{database_url.partition(':')[0]} flows")
    seen_flows = Counter[str]()
    names = ("added", "joined_with", "changed", "removed", "departed_with", "expired")
    async with world_on(database_url, our_clock=True) as world:
        before = None
        for step in range(14):
            stock = await open_by_area(world)
            kind = RunKind.BACKFILL if step == 4 else RunKind.SYNC
            persons = range(4, 9) if step == 4 else range(rng.randrange(3), 14 + rng.randrange(6))
            await publish(world, *drawn_night(world, rng, persons), kind=kind)
            flows = await counted_flows(world, before)
            for area, now_open, *counts in await world.rows(FLOWS):
                row = Counter(dict(zip(names, counts, strict=True)))
                assert +row == +flows[area]
                came, went = (
                    row["added"] + row["joined_with"],
                    row["removed"] + row["departed_with"],
                )
                assert now_open == stock.get(area, 0) + came - went
                seen_flows += row
            before = await last_instant(world)
            world.fake.advance(rng.choice([3_600, 86_400, 4 * 86_400]))
    assert seen_flows.keys() == set(names), "no flow is untested"


@pytest.mark.promise("2")
async def test_the_departed_are_in_no_total(database_url):
    """Of four persons two leave one after the other, and one of them comes back.

    Two rosters that are not in a row lack one of them first. A person missing from one roster is
    neither on it nor stale. Facts, ledger and status agree.
    """
    found = []
    rosters = (
        (1, 2, 3, 4),
        (1, 2, 3),
        (1, 2, 3, 4),
        (1, 2, 3),
        (1, 2, 3),
        (1, 2),
        (1, 2),
        (1, 2, 4),
    )
    async with world_on(database_url, our_clock=True) as world:
        for numbers in rosters:
            await publish(world, *(seen(world, n, safety(f"s{n}", "NORU")) for n in numbers))
            (facts_say,) = await world.rows(
                "SELECT roster, confirmed, stale, missing, persons_in_effect "
                f"FROM report_publication {LAST}"
            )
            areas = {(a.persons, a.stale) for a in await world.database.read(area_staleness)}
            (run,) = await world.rows(
                "SELECT persons_total, persons_departed, persons_missing FROM report_run "
                "ORDER BY run_id DESC LIMIT 1"
            )
            found.append((facts_say, areas, run))
    assert found == [
        ((4, 4, 0, 0, 4), {(4, 0)}, (4, 0, 0)),
        ((3, 3, 0, 1, 4), {(3, 0)}, (3, 0, 1)),
        ((4, 4, 0, 0, 4), {(4, 0)}, (4, 0, 0)),
        ((3, 3, 0, 1, 4), {(3, 0)}, (3, 0, 1)),
        ((3, 3, 0, 0, 3), {(3, 0)}, (4, 1, 0)),
        ((2, 2, 0, 1, 3), {(2, 0)}, (2, 0, 1)),
        ((2, 2, 0, 0, 2), {(2, 0)}, (3, 1, 0)),
        ((3, 3, 0, 0, 3), {(3, 0)}, (3, 0, 0)),
    ]


@pytest.mark.promise("11")
async def test_nothing_changes_them(sqlite_url):
    """Neither retention, nor an erasure, nor a clock that was wrong, nor a run that is undone."""
    async with world_on(sqlite_url) as world:
        for codes in ("N", "NORU"), ("NORU", "NORU"), *[("NORU",)] * 3:
            safe = [safety(f"k{number}", code) for number, code in enumerate(codes)]
            await publish(world, seen(world, 1, *safe), seen(world, 2, safety("x", "NORU")))
            world.fake.advance(40 * 86_400)
        before = await facts(world)
        purged = await purge(await world.lease(), versions=timedelta(days=1))
        assert purged.versions >= 2
        await world.erase(key_of(2))
        world.fake.advance(-300 * 86_400)
        assert await facts(world) == before
        await publish(world, seen(world, 1, safety("k0", "NORU")))
        after = await facts(world)
        assert after[1][:5] == before[1]
        assert set(before[0]) < set(after[0])
        assert set(before[2]) < set(after[2])
        assert set(before[3]) < set(after[3])
        assert sorted(await world.rows(DAILY)) == await counted(world)


async def test_what_is_no_code_is_not_kept(sqlite_url):
    """A text that is no known code is counted as ``other``, in its group, and is not written.

    A person with two such texts is one person: a number of few is not taken for a larger one.
    """
    texts = ("0" * 40, "16858399649", "a b", "Kari Nordmann", "NORU ")
    sql = "SELECT code, restriction_group, open, persons FROM report_daily {} ORDER BY code"
    async with world_on(sqlite_url) as world:
        odd = [safety(f"k{place}", text) for place, text in enumerate(texts)]
        new = safety("b", "NORN_Kari")
        await publish(world, seen(world, 1, *odd, new), seen(world, 2, odd[0]))
        rows = {("other", "denied", 1, 1), ("other", None, 6, 2)}
        assert set(await world.rows(sql.format(LAST))) == rows
        await publish(world, seen(world, 1, odd[2]), seen(world, 2, odd[0]))
        assert ("other", None, 2, 2) in await world.rows(sql.format(LAST))


@pytest.mark.promise("11")
async def test_the_day_is_norways(sqlite_url):
    """Before and behind midnight in Oslo, in winter and summer."""
    async with world_on(sqlite_url) as world:
        for month, hour in ((1, 22), (1, 23), (7, 21), (7, 22)):
            at = datetime(2027, month, 9, hour, 30, tzinfo=UTC)
            world.fake.advance((at - world.fake.now()).total_seconds())
            await publish(world, seen(world, 1))
        days = [day for (day,) in await world.rows("SELECT day FROM report_publication ORDER BY 1")]
    assert days == ["2027-01-09", "2027-01-10", "2027-07-09", "2027-07-10"]


async def test_a_statement_prepared_before_there_was_anything(postgresql_url: str):
    """It is planned anew: the old plan reads everybody for each restriction (31 s at 20,000)."""
    async with world_on(postgresql_url) as world:
        await world.publish(read(world, "a", "x"), read(world, "b"))
        tables = "'person', 'patient_safety_version'"
        sizes = f"SELECT reltuples FROM pg_class WHERE relname IN ({tables}) ORDER BY relname"
        assert await world.rows(sizes) == [(1.0,), (2.0,)]
