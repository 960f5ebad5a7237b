"""A look-up by a restriction's id takes an index: a query plan says so at any size of table."""

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


@pytest.mark.parametrize("view", VIEWS)
async def test_a_restriction_is_found_by_index(database_url, view):
    """In both areas, now and in history, by an index that begins with the id."""
    look_up = f"SELECT * FROM {view} WHERE restriction_id = 'x'"

    async def indexes(connection):
        """The definitions of the indexes in the plan."""
        if database_url.startswith("sqlite"):
            names, definition = f"EXPLAIN QUERY PLAN {look_up}", "SELECT sql FROM sqlite_schema "
            where = "WHERE name = :name"
        else:  # a table of one page is read whole, whatever indexes there are
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            names, definition = f"EXPLAIN {look_up}", "SELECT pg_get_indexdef(oid) FROM pg_class "
            where = "WHERE relname = :name"
        plan = "\n".join(str(row[-1]) for row in await connection.execute(text(names)))
        return [
            str((await connection.execute(text(definition + where), {"name": name})).scalar())
            for name in re.findall(r"(?i)(?:using index|scan using|index scan on) (\w+)", plan)
        ]

    async with world_on(database_url) as world:
        await small_store(world)
        found = await world.database.read(indexes)
    assert [index for index in found if re.search(r"\(restriction_id\b", index)], found
