"""The questions of ``docs/reporting.md``, on each database, with answers counted by hand."""

import re
from datetime import UTC, date, datetime
from typing import Any

from tests.support.documents import ROOT, blocks
from tests.support.report.month import month
from tests.support.report.stores import NEVER, missed, privacy, safety, seen
from tests.support.store_world import SAFETY, World, world_on
from worker.core.model import Record

PAGE = ROOT / "docs" / "reporting.md"
PAST, FUTURE = datetime(2001, 2, 3, 12, tzinfo=UTC), datetime(2901, 2, 3, 12, tzinfo=UTC)
DAY_1, DAY_2 = "2026-03-28", "2026-03-30"
"""The second publication, a day later in UTC, is past a midnight in Norway."""


async def two_nights(world: World) -> None:
    """Four persons; then one is missing and has left, one fails, of one a restriction is gone."""
    blocked = (privacy("p", "Block", "Hard"),)
    for night, wait in (1, 86_400), (2, 5 * 86_400), (3, 0):
        reads = [
            seen(world, 1, *_of_the_first(night), ref="R1", cohort="Nord"),
            seen(world, 2, safety("c", "NORU", PAST), private=blocked, ref="R2", cohort="Nord"),
            seen(world, 3, safety("d", "NORN_EPO", NEVER), ref="R3")
            if night == 1
            else missed(world, 4, "R4", "Sør"),
        ]
        await world.publish(*reads)
        world.fake.advance(wait)


def _of_the_first(night: int) -> list[Record]:
    more = {1: [safety("a", "N")], 2: [safety("e", "NORN_EPO", NEVER)]}
    return [safety("b", "NORU", FUTURE), *more.get(night, [])]


async def test_fourteen_questions(database_url):
    """Each has an answer, and it is right."""
    async with world_on(database_url, our_clock=True) as world:
        await two_nights(world)
        answers = [await _answer(world, sql) for sql in _questions(database_url)]
    assert len(answers) == 14
    day_3 = "2026-04-04"
    assert answers[0] == [(day_3, 2, 2, 3, 2)]
    assert answers[1] == [
        ("Block", "Sperring", "blocked", 1),
        ("NORU", "Utsatt innsyn for innbyggeren", "delayed", 1),
    ]
    assert answers.pop(2) == [("Nord", 2, 2, 2, 1000, 1000), ("Sør", 1, 0, 0, 0, 0)]
    assert [row for row in answers[2] if (row[0], row[1]) != (DAY_2, "none")] == [
        (DAY_1, "blocked", 1),
        (DAY_1, "delayed", 1),
        (DAY_1, "denied", 1),
        (DAY_1, "none", 0),
        (DAY_2, "blocked", 1),
        (DAY_2, "delayed", 1),
        (DAY_2, "denied", 2),
        (day_3, "blocked", 1),
        (day_3, "delayed", 1),
        (day_3, "denied", 0),
    ]
    assert answers[3] == [
        (DAY_1, "patient-privacy", 0, 1, 0, 0, 0, 0),
        (DAY_1, SAFETY, 0, 4, 0, 0, 0, 0),
        (DAY_2, SAFETY, 1, 0, 0, 1, 0, 0),
        (day_3, SAFETY, 0, 0, 0, 1, 1, 0),
    ]
    assert answers[4] == [("2901-02-03", 1)]
    assert answers.pop(5) == [], "every code is known"
    assert answers[5] == [
        ("patient-privacy", "in effect", 1),
        (SAFETY, "in effect", 1),
        (SAFETY, "over", 1),
    ]
    assert answers[6] == [(SAFETY, 1, 1, 5)]
    assert [(*row[:3], row[4]) for row in answers[7]] == [("R4", SAFETY, "transient", 2)]
    assert answers[8] == [("2026-03", 1, 0), ("2026-04", 0, 1)]
    assert [row[:3] for row in answers[9]] == [("patient-privacy", 3, 0), (SAFETY, 3, 1)]
    quiet = ["2026-03-29", "2026-03-31", "2026-04-01", "2026-04-02", "2026-04-03"]
    assert answers[10] == [(day,) for day in quiet]
    assert [row[1:3] for row in answers[11]] == [("published", "Publisert med mangler")] * 2


async def test_a_day_with_a_backfill_counts_once(database_url):
    """Totals are those of the day's last publication; changes are those of both.

    The codes that figures call ``other`` are named by a question of their own.
    """
    async with world_on(database_url, our_clock=True) as world:
        await month(world, nights=8)
        questions = _questions(database_url)
        by_day, changes, _, unknown = [await _answer(world, sql) for sql in questions[3:7]]
        figures = await _answer(
            world,
            "SELECT p.day, f.restriction_group, sum(f.restrictions) FROM report_publication p "
            "JOIN report_publication_figure f ON f.publication_no = p.publication_no "
            "WHERE f.figure = 'group' AND f.restriction_group <> 'pending' "
            "AND p.publication_no IN (SELECT max(publication_no) FROM report_daily GROUP BY day) "
            "GROUP BY p.day, f.restriction_group",
        )
        (feed,) = await _answer(
            world,
            "SELECT sum(CASE WHEN op = 'insert' THEN 1 ELSE 0 END), sum(CASE WHEN op = 'update' "
            "THEN 1 ELSE 0 END), sum(CASE WHEN op = 'close' THEN 1 ELSE 0 END) "
            "FROM report_change_feed WHERE restriction_id IS NOT NULL",
        )
    assert unknown == [(SAFETY, "NORN_NEW", 18), (SAFETY, "ODD", 18)]
    shown = {row for row in by_day if row[1] not in {"none", "pending", None}}
    assert shown == set(figures)
    came, changed, went = (
        sum(row[place] for row in changes for place in places) for places in ((2, 3), (4,), (5, 6))
    )
    assert (came, changed, went) == feed


def _questions(database_url: str) -> list[str]:
    """The statements of the page; where the databases differ, that of this one."""
    name = re.split(r"\W", database_url)[0]
    page = PAGE.read_text(encoding="utf-8")
    return blocks(page[page.index("## Fourteen questions") :], f"(?:sql|{name})")


async def _answer(world: World, sql: str) -> list[tuple[Any, ...]]:
    return [_plain(row) for row in await world.rows(sql.rstrip("\n;"))]


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sums are numbers of one kind, whatever the database calls them; a day is text."""
    return tuple(map(_plain_value, row))


def _plain_value(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    is_number = not isinstance(value, str | bool) and hasattr(value, "__int__")
    return float(value) if is_number else value
