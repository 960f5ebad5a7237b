"""Rows passed to one statement: what arrives, on both databases."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone

from tests.support.clock import FakeRuntime
from worker.store.database import open_database
from worker.store.runs.bulk import InputRows

SHAPE = InputRows(
    (
        ("number", "bigint"),
        ("words", "text"),
        ("flag", "boolean"),
        ("at", "timestamptz"),
        ("raw", "bytea"),
    )
)
NOON = datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))


@asynccontextmanager
async def connected(url: str):
    fake = FakeRuntime()
    async with (
        open_database(url, fake.runtime) as database,
        database.engine.connect() as connection,
    ):
        yield connection


async def test_every_kind_of_value_arrives(database_url):
    """Numbers, texts, booleans, times in UTC, bytes; and nothing where there is nothing."""
    rows = [
        (2**62, "æøå 'quoted' :colon {brace} 100%", True, NOON, b"\0\xff'"),
        (-1, "", False, None, b""),
        (0, None, None, None, None),
    ]
    async with connected(database_url) as connection:
        sql = "SELECT {names} FROM {input_rows} ORDER BY number"
        found = await SHAPE.execute(connection, sql, rows)
    at = found[2][3]
    arrived = datetime.fromisoformat(at) if isinstance(at, str) else at
    assert arrived.astimezone(UTC) == NOON
    assert [tuple(found[0]), tuple(found[1]), (*found[2][:3], *found[2][4:])] == [
        (-1, "", False, None, b""),
        (0, None, None, None, None),
        (2**62, "æøå 'quoted' :colon {brace} 100%", True, b"\0\xff'"),
    ]


async def test_however_many_rows(database_url):
    """Each row arrives once, whatever the size of the statements that take them."""
    sql = "SELECT number, words FROM {input_rows}"
    async with connected(database_url) as connection:
        for count in (0, 1, 3, 4, 5, 17, 2_500):
            rows = [(number, str(number), None, None, None) for number in range(count)]
            found = await SHAPE.execute(connection, sql, rows)
            assert sorted(map(tuple, found)) == [row[:2] for row in rows]
