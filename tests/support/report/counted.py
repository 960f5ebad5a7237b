"""Nights drawn at random, and what the views show then, counted from all of their rows."""

import random
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

from tests.support.report.stores import NEVER, missed, privacy, safety, seen
from tests.support.store_world import World
from worker.areas import AREAS
from worker.core.effect import in_effect_sql, instant_sql
from worker.core.model import FailureKind, PersonRead

CODES = ("", "N", "NORU", "NORN_EPO", "NORS", "NORN_NEW")
CAUSES = (None, "Manual", "Automated", "New", "Newer")
"""The last two are none of PTS's: the facts have one word for both."""
COHORTS = (None, "Nord", "Sør", "Øst")
PEOPLE = (
    "roster",
    "confirmed",
    "stale",
    *(f"failed_{kind}" for kind in FailureKind),
    "joined",
    "departed",
    "persons_in_effect",
)
"""The counts of persons in the facts."""
DAILY = (
    "SELECT area, code, level, cause, COALESCE(cohort, ''), open, in_effect, persons, "
    "persons_in_effect FROM report_daily "
    "WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication) "
    "AND open > 0 ORDER BY 1, 2, 3, 4, 5"
)
"""What the facts of the last publication say of restrictions, as ``counted`` counts them."""


def drawn_night(world: World, rng: random.Random, persons: range) -> list[PersonRead]:
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


async def on_roster(world: World) -> dict[str, tuple[str, bool]]:
    """Cohort of everybody on the roster, and whether something of them is stale, by key."""
    rows = await world.rows(
        "SELECT person_key, COALESCE(cohort, ''), MAX(CASE WHEN is_stale THEN 1 ELSE 0 END) "
        "FROM report_person_freshness GROUP BY 1, 2"
    )
    return {key: (cohort, bool(stale)) for key, cohort, stale in rows}


async def counted_people(world: World, before: dict[str, tuple[str, bool]]) -> set[tuple[Any, ...]]:
    """``PEOPLE`` of the last publication by cohort, counted from the views before and after it."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    after = await on_roster(world)
    for key, (cohort, is_stale) in after.items():
        found[cohort].update(["roster", "stale" if is_stale else "confirmed"])
        found[cohort]["joined"] += key not in before
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
        (cohort, *(counts[name] for name in PEOPLE))
        for cohort, counts in found.items()
        if any(counts.values())
    }
