"""Look-ups in the views go through an index, so that they do not grow with the roster."""

import pytest

from tests.report.support import key_of, small_store
from tests.store.test_store_scenarios import world_on

SAFE = "report_patient_safety_current"
KEYS = {"person_key": key_of(1), "local_ref": "R-1", "restriction_id": "s3"}
ASKED = [
    *((SAFE, column) for column in KEYS),
    ("report_patient_privacy_current", "restriction_id"),
    ("report_patient_safety_history", "restriction_id"),
    ("report_patient_safety_history", "person_key"),
    ("report_person_freshness", "person_key"),
    ("report_person_freshness", "local_ref"),
]
LARGE = ("v", "p", "pa")
"""What the views call the tables of many rows."""


async def scanned(world, sql):
    """The lines of the plan that read a large table from end to end."""
    lines = [row[-1].split() for row in await world.rows(f"EXPLAIN QUERY PLAN {sql}")]
    return [" ".join(words) for words in lines if words[0] == "SCAN" and words[1] in LARGE]


@pytest.mark.parametrize(("view", "column"), ASKED)
async def test_a_look_up_scans_nothing(sqlite_url, view, column):
    """SQLite finds the rows of one person, reference or restriction by an index."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        assert [] == await scanned(world, f"SELECT * FROM {view} WHERE {column} = '{KEYS[column]}'")


@pytest.mark.parametrize("view", [SAFE, "report_person_freshness"])
@pytest.mark.parametrize("what", ["v.*", "count(*)"])
@pytest.mark.parametrize(("join", "before"), [("JOIN", "ANALYZE wanted"), ("CROSS JOIN", "")])
async def test_a_join_scans_nothing(sqlite_url, view, what, join, before):
    """Nor does the join with a list that SQLite knows to be short, as docs/reporting.md has it."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        await world.rows_written("CREATE TABLE wanted AS SELECT 'R-' || 3 AS local_ref")
        await world.rows_written(before or "SELECT 1")
        sql = f"SELECT {what} FROM wanted w {join} {view} v ON v.local_ref = w.local_ref"
        assert [] == await scanned(world, sql)
        assert await world.rows(sql)
