"""Rows passed to one statement: each arrives, on both databases."""

from tests.support.clock import FakeRuntime
from worker.store.database import open_database
from worker.store.runs.bulk import InputRows

SHAPE = InputRows((("number", "bigint"), ("words", "text"), ("raw", "bytea")))
ODD = "æøå 'quoted' :colon {brace} 100% "


async def test_however_many_rows(database_url):
    """Each row arrives once, whatever the size of the statements that take them."""
    sql = "SELECT {names} FROM {input_rows}"
    async with (
        open_database(database_url, FakeRuntime().runtime) as database,
        database.engine.connect() as connection,
    ):
        for count in (0, 1, 3, 4, 5, 17, 4_000):
            rows = [(n, f"{ODD}{n}" if n else None, b"\0\xff'") for n in range(count)]
            found = await SHAPE.execute(connection, sql, rows)
            assert sorted(map(tuple, found)) == rows
