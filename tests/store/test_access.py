"""The access log takes rows, and gives them back to nobody but retention."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from tests.support.store_world import world_on
from worker.store.runs import ledger
from worker.store.runs.ledger import Purged, purge
from worker.store.schema.tables import access_log

KEPT_AT_LEAST = timedelta(days=90)


async def aged(world, age):
    """A row of that age by the real clock, which the triggers go by."""
    at = datetime.now(UTC) - age

    async def work(connection):
        row = {"accessed_at": at, "os_user": "pts", "host": "h1"}
        await connection.execute(access_log.insert().values(**row, command="report"))

    await world.database.write(work)


CHANGES = {
    "UPDATE access_log SET purpose = 'x'": None,
    "UPDATE access_log SET person_key = 'x'": None,
    "UPDATE access_log SET person_key = NULL, purpose = 'x'": None,
    "DELETE FROM access_log": None,
    "INSERT OR REPLACE INTO access_log SELECT * FROM access_log": "sqlite",
    "TRUNCATE access_log": "postgresql",
}


@pytest.mark.promise("8")
async def test_a_row_cannot_be_changed_or_deleted(database_url):
    """Each way that an engine knows is refused by its triggers; age allows a row to go alone."""
    async with world_on(database_url, our_clock=True) as world:
        await aged(world, KEPT_AT_LEAST - timedelta(hours=1))
        before = await world.rows("SELECT * FROM access_log")
        for statement, engine in CHANGES.items():
            if engine in (None, world.database.engine.dialect.name):
                with pytest.raises(DBAPIError, match="append-only"):
                    await world.rows_written(statement)
                assert await world.rows("SELECT * FROM access_log") == before, statement
        await aged(world, KEPT_AT_LEAST + timedelta(hours=1))
        with pytest.raises(DBAPIError, match="append-only"):
            await world.rows_written("UPDATE access_log SET command = 'status'")


@pytest.mark.promise("8")
async def test_retention_forgets_old_rows_in_steps(sqlite_url, monkeypatch):
    """What was older than two years when the last sync was published goes, the rest stays.

    When it is asked to stop, what is left over waits for the next time.
    """
    monkeypatch.setattr(ledger, "ROWS_PER_STEP", 2)
    async with world_on(sqlite_url) as world:
        for days in (900, 800, 731, 729, 0):
            await aged(world, timedelta(days=days))
        world.fake.advance((datetime.now(UTC) - world.fake.now()).total_seconds())
        lease = await world.lease()
        assert await purge(lease, versions=None, is_stopping=lambda: True) == Purged()
        before = world.fake.now() - timedelta(days=100)
        assert await purge(lease, versions=None, last_sync_at=before) == Purged(accesses=1)
        assert await purge(lease, versions=None) == Purged(accesses=2)
        assert await purge(lease, versions=None) == Purged()
        assert await world.rows("SELECT count(*) FROM access_log") == [(2,)]
