"""The eleven questions of ``docs/reporting.md``, on each database, with answers counted by hand."""

from datetime import UTC, datetime
from typing import Any

from tests.architecture.documents import ROOT, blocks
from tests.report.support import NEVER, missed, privacy, safety, seen
from tests.store.test_store_scenarios import SAFETY, World, world_on
from worker.core.model import Record

PAGE = ROOT / "docs" / "reporting.md"
PAST, FUTURE = datetime(2001, 2, 3, 12, tzinfo=UTC), datetime(2901, 2, 3, 12, tzinfo=UTC)
DAY_1, DAY_2 = "2026-03-28", "2026-03-30"
"""The second publication, a day later in UTC, is past a midnight in Norway."""


async def two_nights(world: World) -> None:
    """Four persons; then one has left, one fails, and of one a restriction is gone."""
    blocked = (privacy("p", "Block", "Hard"),)
    for night, wait in (1, 86_400), (2, 5 * 86_400), (3, 0):
        reads = [
            seen(world, 1, *_of_the_first(night), ref="R1", cohort="Nord"),
            seen(world, 2, safety("c", "NORU", PAST), private=blocked, ref="R2", cohort="Nord"),
            seen(world, 3, safety("d", "NORN_EPO", NEVER), ref="R3")
            if night == 1
            else missed(world, 4, "R4", "Sør"),
        ]
        turn = await world.begin()
        await turn.write(*reads)
        await turn.publish()
        world.fake.advance(wait)


def _of_the_first(night: int) -> list[Record]:
    more = {1: [safety("a", "N")], 2: [safety("e", "NORN_EPO", NEVER)]}
    return [safety("b", "NORU", FUTURE), *more.get(night, [])]


async def test_eleven_questions(database_url):
    """Each has an answer, and it is right."""
    async with world_on(database_url, our_clock=True) as world:
        await two_nights(world)
        asked = blocks(PAGE.read_text(encoding="utf-8"), "sql")
        answers = [[_plain(row) for row in await world.rows(sql.rstrip("\n;"))] for sql in asked]
    assert 11 == len(answers)
    day_3 = "2026-04-04"
    assert [(day_3, 2, 2, 3, 2)] == answers[0]
    assert [
        ("Block", "Sperring", "blocked", 1),
        ("NORU", "Utsatt innsyn for innbyggeren", "delayed", 1),
    ] == answers[1]
    assert [("Nord", 2, 2, 2, 1000), ("Sør", 1, 0, 0, 0)] == answers.pop(2)
    assert [
        (DAY_1, "blocked", 1),
        (DAY_1, "delayed", 1),
        (DAY_1, "denied", 1),
        (DAY_1, "none", 0),
        (DAY_2, "blocked", 1),
        (DAY_2, "delayed", 1),
        (DAY_2, "denied", 1),
        (day_3, "blocked", 1),
        (day_3, "delayed", 1),
        (day_3, "denied", 0),
    ] == [row for row in answers[2] if (row[0], row[1]) != (DAY_2, "none")]
    assert [
        (DAY_1, "patient-privacy", 1, 0, 0),
        (DAY_1, SAFETY, 4, 0, 0),
        (DAY_2, SAFETY, 1, 0, 2),
        (day_3, SAFETY, 0, 0, 1),
    ] == answers[3]
    assert [("2901-02-03", 1)] == answers[4]
    assert [("in effect", 1), ("over", 1)] == answers[5]
    assert [(SAFETY, 1, 5, 5)] == answers[6]
    assert [("R4", SAFETY, "transient", 2)] == [(*row[:3], row[4]) for row in answers[7]]
    assert [("2026-03", 4, 1), ("2026-04", 0, 0)] == answers[8]
    assert [("published", "Publisert med mangler", None)] * 2 == [row[1:] for row in answers[9]]


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sums are numbers of one kind, whatever the database calls them."""
    return tuple(
        int(value) if not isinstance(value, str | bool) and hasattr(value, "__int__") else value
        for value in row
    )
