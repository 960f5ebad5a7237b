"""A look-up by an id or a person takes an index: a query plan says so at any size of table."""

import re

import pytest
from sqlalchemy import text

from tests.support.report.stores import small_store
from tests.support.store_world import world_on

VIEWS = [
    f"report_patient_{area}_{kind}"
    for area in ("safety", "privacy")
    for kind in ("current", "history")
]
LOOK_UPS = [
    *((view, "restriction_id = 'x'", r"\(restriction_id\b") for view in VIEWS),
    ("report_change_feed", "person_no = 1", r"change_feed .*\(person_id\b"),
]


@pytest.mark.parametrize(("view", "where", "index"), LOOK_UPS)
async def test_a_look_up_takes_an_index(database_url, view, where, index):
    """A restriction in both areas, now and in history; the changes of one person in the feed."""
    look_up = f"SELECT * FROM {view} WHERE {where}"

    async def indexes(connection):
        """The definitions of the indexes in the plan."""
        if database_url.startswith("sqlite"):
            names, definition = f"EXPLAIN QUERY PLAN {look_up}", "SELECT sql FROM sqlite_schema "
            condition = "WHERE name = :name"
        else:  # a table of one page is read whole, whatever indexes there are
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            names, definition = f"EXPLAIN {look_up}", "SELECT pg_get_indexdef(oid) FROM pg_class "
            condition = "WHERE relname = :name"
        plan = "\n".join(str(row[-1]) for row in await connection.execute(text(names)))
        return [
            str((await connection.execute(text(definition + condition), {"name": name})).scalar())
            for name in re.findall(r"(?i)(?:using index|scan using|index scan on) (\w+)", plan)
        ]

    async with world_on(database_url) as world:
        await small_store(world)
        found = await world.database.read(indexes)
    assert [definition for definition in found if re.search(index, definition)], found
