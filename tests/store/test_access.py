"""The access log takes rows, and gives them back to nobody but retention."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.store_world import read, world_on
from worker.store.privacy.access_log import KEPT_AT_LEAST, Access, record_access
from worker.store.runs.retention import Purged, RetentionRules, purge
from worker.store.schema.tables import access_log

ACCESS = Access(os_user="pts", login_user="anna", host="h1", command="explain", purpose="case 7")


async def written(world, statement, **values):
    async def work(connection):
        await connection.execute(text(statement), values)

    await world.database.write(work)


async def aged(world, age):
    """A row of that age by the real clock, which the triggers go by."""
    at = datetime.now(UTC) - age

    async def work(connection):
        row = {"accessed_at": at, "os_user": "pts", "host": "h1"}
        await connection.execute(access_log.insert().values(**row, command="report"))

    await world.database.write(work)


async def test_the_view_names_the_person_while_they_are_known(database_url):
    """By key; an unknown or erased person is not named."""
    async with world_on(database_url, our_clock=True) as world:
        await world.publish(read(world, "a", "k"))
        for key in ("a", "stranger", None):
            await record_access(world.database, ACCESS, person_key=key)
        columns = "os_user, login_user, host, command, person_key, purpose"
        shown = f"SELECT {columns} FROM report_access ORDER BY person_key IS NULL"
        named = ("pts", "anna", "h1", "explain", "a", "case 7")
        nobody = ("pts", "anna", "h1", "explain", None, "case 7")
        assert await world.rows(shown) == [named, nobody, nobody]
        for table in ("patient_safety_version", "person_area", "person"):
            await written(world, f"DELETE FROM {table}")
        assert await world.rows(shown) == [nobody, nobody, nobody]


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE access_log SET purpose = NULL",
        "UPDATE access_log SET person_id = NULL WHERE access_id = 1",
        "DELETE FROM access_log",
        "INSERT OR REPLACE INTO access_log SELECT * FROM access_log",
        "TRUNCATE access_log",
    ],
)
async def test_a_row_cannot_be_changed_or_deleted(database_url, statement):
    """Each way that an engine knows is refused by its triggers."""
    async with world_on(database_url, our_clock=True) as world:
        is_sqlite = world.database.dialect.name == "sqlite"
        if ("OR REPLACE" in statement and not is_sqlite) or ("TRUNCATE" in statement and is_sqlite):
            return
        await aged(world, KEPT_AT_LEAST - timedelta(hours=1))
        before = await world.rows("SELECT * FROM access_log")
        with pytest.raises(DBAPIError, match="append-only"):
            await written(world, statement)
        assert before == await world.rows("SELECT * FROM access_log")


async def test_an_old_row_cannot_be_changed_either(database_url):
    """Age allows a row to go, not to be rewritten."""
    async with world_on(database_url, our_clock=True) as world:
        await aged(world, KEPT_AT_LEAST + timedelta(hours=1))
        with pytest.raises(DBAPIError, match="append-only"):
            await written(world, "UPDATE access_log SET command = 'status'")


@pytest.mark.promise("8")
async def test_retention_forgets_old_rows_in_steps(database_url):
    """What is older than the rule goes, the rest stays; without a rule everything stays."""
    async with world_on(database_url) as world:
        for days in (300, 250, 201, 199, 0):
            await aged(world, timedelta(days=days))
        world.fake.advance((datetime.now(UTC) - world.fake.now()).total_seconds())
        lease = await world.lease()
        assert Purged() == await purge(lease, RetentionRules())
        rules = RetentionRules(access_log=timedelta(days=200), versions_per_step=2)
        assert Purged(accesses=3) == await purge(lease, rules)
        assert Purged() == await purge(lease, rules)
        assert await world.rows("SELECT count(*) FROM access_log") == [(2,)]


async def test_retention_of_it_stops_when_asked(database_url):
    """What is left over waits for the next time."""
    async with world_on(database_url) as world:
        for _ in range(3):
            await aged(world, timedelta(days=300))
        world.fake.advance((datetime.now(UTC) - world.fake.now()).total_seconds())
        rules = RetentionRules(access_log=timedelta(days=200))
        lease = await world.lease()
        assert Purged() == await purge(lease, rules, is_stopping=lambda: True)
        assert await world.rows("SELECT count(*) FROM access_log") == [(3,)]
