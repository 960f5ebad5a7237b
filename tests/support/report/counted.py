"""Nights drawn at random, and what the views show then, counted from all of their rows."""

import random
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from typing import Any

from tests.support.report.stores import NEVER, missed, privacy, safety, seen
from tests.support.store_world import World
from worker.core.area import AREAS
from worker.core.model import PersonRead
from worker.store.schema.columns import PERSON_COUNTS
from worker.views import iso_utc

CODES = ("", "N", "NORU", "NORN_EPO", "NORS", "NORN_NEW")
UNKNOWN = ("NORN_NEW", "Odd")
CAUSES = (None, "Manual", "Automated", "New", "Newer")
"""The last two are none of PTS's: the facts have one word for both."""
COHORTS = (None, "Nord", "Sør", "Øst")
PEOPLE = PERSON_COUNTS
"""The counts of persons in the facts."""
DAILY = (
    "SELECT area, code, level, cause, COALESCE(cohort, ''), open, in_effect, persons, "
    "persons_in_effect FROM report_daily "
    "WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication) "
    "AND open > 0 ORDER BY 1, 2, 3, 4, 5"
)
"""What the facts of the last publication say of restrictions, as ``counted`` counts them."""


FLOWS = (
    "SELECT area, CAST(SUM(open) AS BIGINT), CAST(SUM(added) AS BIGINT), "
    "CAST(SUM(joined_with) AS BIGINT), CAST(SUM(changed) AS BIGINT), "
    "CAST(SUM(removed) AS BIGINT), CAST(SUM(departed_with) AS BIGINT), "
    "CAST(SUM(expired) AS BIGINT) FROM report_daily "
    "WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication) GROUP BY area"
)
"""The facts of the last publication on restrictions that came and went, as ``counted_flows``."""


FIGURES = (
    "SELECT figure, COALESCE(restriction_group, ''), code, level, COALESCE(cohort, ''), "
    "restrictions, persons FROM report_publication_figure "
    "WHERE publication_no = (SELECT MAX(publication_no) FROM report_publication)"
)
"""What the facts of the last publication say for the report, as ``counted_figures`` counts it."""


def active_at(at: datetime) -> str:
    """The documented condition for "in effect at an instant", for rows of the current views."""
    return (
        "(COALESCE(restriction_group, '') NOT IN ('none', 'pending') "
        f"AND COALESCE(begins_at <= '{iso_utc(at)}', true) "
        f"AND COALESCE(ends_at > '{iso_utc(at)}', true))"
    )


def drawn_night(world: World, rng: random.Random, persons: range) -> list[PersonRead]:
    """Reads of these persons; for some of them restrictions and a cohort are drawn anew."""
    now = world.fake.now()
    published_at = now + timedelta(seconds=1.5)  # ends and ages meet their limits to the instant
    reads = []
    for number in persons:
        cohort = (COHORTS * 2)[number % 4 + (rng.random() < 0.2)]
        if rng.random() < 0.1:
            reads.append(missed(world, number, cohort=cohort))
            continue
        mine = random.Random(f"{number} {rng.random() < 0.3 and rng.random()}")
        safe = []
        for index in range(mine.randrange(4)):
            near = published_at + timedelta(hours=mine.choice([0, mine.randrange(-30, 60)]))
            days = mine.choice([0, 7, 30, 90, 365, mine.randrange(-500, 500)])
            ends = mine.choice([None, NEVER, near, published_at + timedelta(days)])
            code, cause = mine.choice(CODES), mine.choice(CAUSES)
            old = timedelta(mine.choice([30, 182, 365, mine.randrange(500)]))
            made = mine.choice([None, published_at - old])
            columns = {"cause": cause, "source_created_at": made}
            safe.append(safety(f"s{number}-{index}", code, ends, **columns))
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
        does = active_at(at)
        level, cause = (
            f"COALESCE({name}, '')" if name else "''"
            for name in (area.effect.level, area.effect.cause)
        )
        cause = f"CASE WHEN {cause} IN ('New', 'Newer') THEN 'other' ELSE {cause} END"
        code = f"COALESCE({area.effect.code}, '')"
        code = f"CASE WHEN {code} IN {UNKNOWN} THEN 'other' ELSE {code} END"
        found = await world.rows(
            f"SELECT {code}, {level}, {cause}, COALESCE(cohort, ''), "
            f"COUNT(*), SUM(CASE WHEN {does} THEN 1 ELSE 0 END), COUNT(DISTINCT person_key), "
            f"COUNT(DISTINCT CASE WHEN {does} THEN person_key END) "
            f"FROM report_{area.table}_current v GROUP BY 1, 2, 3, 4"
        )
        rows += [(area.name, *row) for row in found]
    return sorted(rows)


async def counted_figures(world: World) -> set[tuple[Any, ...]]:
    """The same for ``FIGURES``, counted from the rows and the feed in Python."""
    at, week_start = await last_instant(world), await _week_start(world)
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for area in AREAS:
        names = [
            f"v.{name}" if name else "''"
            for name in (area.effect.code, area.effect.level, area.effect.cause)
        ]
        rows = await world.rows(
            f"SELECT person_key, COALESCE(cohort, ''), COALESCE(restriction_group, ''), "
            f"{', '.join(names)}, {active_at(at)}, "
            f"source_created_at, ends_at, first_seen_at FROM report_{area.table}_current v"
        )
        for person, cohort, group, code, level, cause, does, made, ends, first_seen in rows:
            keys = []
            if does or group == "pending":
                keys.append(("group", group, "", ""))
            if does:
                code_and_level = ("other", "") if code in UNKNOWN else (code or "", level)
                keys.append(("code", group, *code_and_level))
                keys.append(("age", "", _place(made, at, "age"), ""))
            if does and area.effect.cause:
                counted_cause = "other" if cause in CAUSES[-2:] else cause or "Undefined"
                keys.append(("cause", "", counted_cause, ""))
            if does and group == "delayed":
                keys.append(("ends", "", _place(ends, at, "ends"), ""))
            if not does and group != "none" and ends and _time(ends) <= at:
                keys.append(("expired", "", _place(ends, at, "age"), ""))
                expired_in_week = max(week_start, _time(first_seen)) < _time(ends)
                keys += [("week_expired", group, "", "")] * expired_in_week
            for key in keys:
                found[*key, cohort].append(person)
    for person, cohort, group, op in await _week(world):
        found["week", "", op, "", cohort].append(person)
        found["week_group", group, op, "", cohort].append(person)
    return {(*key, len(persons), len(set(persons))) for key, persons in found.items()}


async def _week_start(world: World) -> datetime:
    """When the last publication before the seven days was, or the first one of all."""
    rows = sorted(await world.rows("SELECT published_at, day FROM report_publication"))
    last = date.fromisoformat(str(rows[-1][1]))
    before = [at for at, day in rows if (last - date.fromisoformat(str(day))).days >= 7]
    return _time(before[-1] if before else rows[0][0])


async def _week(world: World) -> list[tuple[Any, ...]]:
    """Of seven days: whose restriction it was, of which group, and what happened to it."""
    days = dict(await world.rows("SELECT publication_no, day FROM report_publication"))
    last = date.fromisoformat(str(days[max(days)]))
    week = {
        number for number, day in days.items() if (last - date.fromisoformat(str(day))).days < 7
    }
    rows = await world.rows(
        "SELECT publication_no, person_key, COALESCE(cohort, ''), "
        "COALESCE(restriction_group, ''), op FROM report_change_feed f "
        "WHERE op IN ('insert', 'update', 'close') AND restriction_id IS NOT NULL "
        "AND (op <> 'close' OR NOT EXISTS (SELECT 1 FROM report_change_feed d WHERE "
        "d.op = 'depart' AND (d.publication_no, d.person_no) = (f.publication_no, f.person_no))) "
        "AND (op <> 'insert' OR NOT EXISTS (SELECT 1 FROM report_episode e WHERE e.is_left_censored"
        " AND e.restriction_id = f.restriction_id AND e.person_key = f.person_key "
        "AND e.started_at <= f.published_at AND COALESCE(e.ended_at > f.published_at, true)))"
    )
    return [row[1:] for row in rows if row[0] in week and row[3] != "none"]


def _place(time: Any, at: datetime, what: str) -> str:
    """The code of an age, or of the time until an end."""
    bounds = {"age": (30, 182, 365), "ends": (7, 30, 90, 365)}[what]
    if time is None:
        return {"age": "age_unknown", "ends": "ends_never"}[what]
    if what == "age":
        inside = [days for days in bounds if _time(time) > at - timedelta(days=days)]
    else:
        inside = [days for days in bounds if _time(time) <= at + timedelta(days=days)]
    return f"{what}_{inside[0] if inside else {'age': 'more', 'ends': 'later'}[what]}"


def _time(value: Any) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


async def held(world: World) -> dict[str, tuple[str, str]]:
    """Cohort and state of each person who has not departed, by key."""
    rows = await world.rows(
        "SELECT person_key, COALESCE(cohort, ''), CASE WHEN MAX(CASE WHEN is_missing THEN 1 ELSE 0 "
        "END) = 1 THEN 'missing' WHEN MAX(CASE WHEN is_stale THEN 1 ELSE 0 END) = 1 THEN 'stale' "
        "ELSE 'confirmed' END FROM report_person_freshness GROUP BY 1, 2"
    )
    return {key: (cohort, state) for key, cohort, state in rows}


async def open_by_area(world: World) -> dict[str, int]:
    """Restrictions that PTS lists, by area."""
    rows = await world.rows("SELECT area, COUNT(*) FROM report_restriction_current GROUP BY area")
    return dict(rows)


async def counted_flows(world: World, before: datetime | None) -> dict[str, Counter[str]]:
    """The flows of the last publication by area, from history and episodes.

    Args:
        before: when the publication before it was.
    """
    at = await last_instant(world)
    last = "(SELECT MAX(publication_no) FROM report_publication)"
    opened = await world.rows(
        "SELECT h.area, CASE WHEN h.first_seen_at < h.observed_at THEN 'changed' "
        "WHEN e.is_left_censored THEN 'joined_with' ELSE 'added' END "
        "FROM report_restriction_history h JOIN report_episode e "
        "ON e.area = h.area AND e.person_key = h.person_key "
        "AND e.restriction_id = h.restriction_id AND e.started_at = h.first_seen_at "
        f"WHERE h.opened_publication = {last}"
    )
    closed = await world.rows(
        "SELECT area, CASE closed_because WHEN 'gone' THEN 'removed' ELSE 'departed_with' END "
        f"FROM report_restriction_history WHERE closed_publication = {last} "
        "AND closed_because <> 'changed'"
    )
    listed = await world.rows(
        "SELECT area, ends_at, first_seen_at FROM report_restriction_current "
        "WHERE ends_at IS NOT NULL AND COALESCE(restriction_group, '') <> 'none'"
    )
    flows: dict[str, Counter[str]] = defaultdict(Counter)
    for area, flow in [*opened, *closed]:
        flows[area][flow] += 1
    for area, ends_at, first_seen_at in listed:
        flows[area]["expired"] += (
            before is not None and _time(first_seen_at) <= before < _time(ends_at) <= at
        )
    return flows


async def counted_people(world: World, before: dict[str, tuple[str, str]]) -> set[tuple[Any, ...]]:
    """``PEOPLE`` of the last publication by cohort, counted from the views before and after it."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    after = await held(world)
    for key, (cohort, state) in after.items():
        found[cohort].update([state] if state == "missing" else ["roster", state])
        found[cohort]["joined"] += key not in before
    for key, (cohort, _) in before.items():
        found[cohort]["departed"] += key not in after
    at = await last_instant(world)
    does = " UNION ".join(
        f"SELECT cohort, person_key FROM report_{area.table}_current v WHERE {active_at(at)}"
        for area in AREAS
    )
    for (cohort,) in await world.rows(f"SELECT COALESCE(cohort, '') FROM ({does}) AS holders"):
        found[cohort]["persons_in_effect"] += 1
    failing = await world.rows(
        "SELECT DISTINCT person_key, failure_kind, COALESCE(cohort, '') "
        "FROM report_person_freshness WHERE failure_kind IS NOT NULL "
        "AND NOT is_missing"
    )
    for _, kind, cohort in failing:
        found[cohort][f"failed_{kind}"] += 1
    return {
        (cohort, *(counts[name] for name in PEOPLE))
        for cohort, counts in found.items()
        if any(counts.values())
    }
