"""Rows passed to one statement: what arrives, on both databases."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone

from tests.support.clock import FakeRuntime
from tests.support.store_world import read, world_on
from worker.store.database import open_database
from worker.store.drafts import batch
from worker.store.drafts.bulk import InputRows

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


async def test_large_batches_go_in_portions(sqlite_url, monkeypatch):
    """No statement takes more text than it should, and nothing is lost between two."""
    monkeypatch.setattr(batch, "CHARACTERS_MAX", 100)
    async with world_on(sqlite_url) as world:
        await world.publish(*(read(world, f"p{n}", f"x{n}", f"y{n}") for n in range(7)))
        assert len(await world.current()) == 14
