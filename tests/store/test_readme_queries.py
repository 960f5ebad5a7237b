"""The example queries of the documents return the rows that they promise."""

from datetime import UTC, datetime
from typing import Any

from tests.support.documents import DOCS, README, blocks
from tests.support.report.stores import missed, publish, safety, seen
from tests.support.store_world import PRIVACY, SAFETY, world_on

JANUARY, FEBRUARY = datetime(2026, 1, 5, 3, 30, tzinfo=UTC), datetime(2026, 2, 5, 3, 30, tzinfo=UTC)


def queries() -> list[str]:
    pages = (README, DOCS / "reference" / "views.md")
    return [sql for page in pages for sql in blocks(page.read_text(encoding="utf-8"), "sql")]


async def test_the_examples_find_what_is_there(database_url):
    """Restrictions in effect by code, as of an instant, and freshness, counted by hand."""
    async with world_on(database_url, our_clock=True) as world:
        world.fake.set_wall_clock(JANUARY)
        first = seen(world, 1, safety("x", "NORU"), safety("y", "NORU"))
        await publish(world, first, seen(world, 2, safety("z", "NORU")))
        world.fake.set_wall_clock(FEBRUARY)
        first = seen(world, 1, safety("x", "NORU"), safety("w", "N"))
        await publish(world, first, missed(world, 2))
        answers: list[list[tuple[Any, ...]]] = [
            await world.rows(query.rstrip().rstrip(";")) for query in queries()
        ]
    by_code, as_of, freshness = answers
    assert by_code == [("NORU", 2, 2, 1)]
    assert as_of == [("NORU", 3)]
    assert [row[:3] for row in freshness] == [(PRIVACY, 2, 0), (SAFETY, 2, 1)]
    assert [str(row[3])[:10] for row in freshness] == ["2026-02-05", "2026-01-05"]


async def test_the_query_for_departed_persons_lists_those_who_left(database_url):
    """A person who is on the roster again is not listed."""
    page = (DOCS / "data-protection.md").read_text(encoding="utf-8")
    (query,) = blocks(page, "sql")
    async with world_on(database_url) as world:
        stays, leaves, returns = (seen(world, number, ref=f"R-{number}") for number in range(3))
        await publish(world, stays, leaves, returns)
        await publish(world, stays)
        await publish(world, stays)
        await publish(world, stays, returns)
        departed = await world.rows(query.rstrip().rstrip(";"))
    assert [row[0] for row in departed] == ["R-1"]
