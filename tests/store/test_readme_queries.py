"""The example queries of README and docs/reference/views.md give what they say."""

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
