"""The migrations on each database: the tables as declared, and an upgrade that waits."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.documents import ROOT
from tests.support.store_world import PRIVACY, read, record, world_on
from worker.errors import ConfigurationError
from worker.ports import real_runtime
from worker.store.database import Database, open_database
from worker.store.schema.tables import metadata
from worker.store.schema.upgrade import HEAD, check_schema, upgrade
from worker.store.schema.views import view_definitions

TABLES = sorted([*metadata.tables, "alembic_version"])


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    async with open_database(url, real_runtime()) as database:
        yield database


async def in_sync(database: Database, work: Callable[[Connection], Any]) -> Any:
    """Run code that is not async, in a write transaction."""

    async def inside(connection: AsyncConnection) -> Any:
        return await connection.run_sync(work)

    return await database.write(inside)


def names_in(connection: Connection) -> tuple[list[str], list[str]]:
    """Tables and views."""
    found = inspect(connection)
    return sorted(found.get_table_names()), sorted(found.get_view_names())


_CATALOG = {
    "sqlite": """
        SELECT name, replace(replace(sql, char(10), ' '), char(9), ' ') FROM sqlite_master
        WHERE type IN ('table', 'index') AND sql IS NOT NULL AND name NOT LIKE 'sqlite%'
    """,
    "postgresql": """
        SELECT table_name || '.' || column_name, concat_ws(' ', ordinal_position, data_type,
            character_maximum_length, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = current_schema()
            AND table_name NOT LIKE 'report%'
        UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'
        UNION ALL SELECT indexname, regexp_replace(indexdef, ' ON [a-z_]+[.]', ' ON ')
            FROM pg_indexes WHERE schemaname = current_schema()
        UNION ALL SELECT relname, array_to_string(reloptions, ',') FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND reloptions IS NOT NULL
    """,
}
"""Tables, columns, constraints and indexes, as the database describes them."""


def catalog(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text(_CATALOG[connection.dialect.name]))
    return {name: _without_order(sql) for name, sql in rows if "alembic" not in name}


def _without_order(sql: str) -> str:
    """SQLite keeps the constraints of a table in the order in which they were written."""
    return " ".join(sorted(re.split(r",\s+|\s*[()]\s*", sql))).casefold()


_LOCKS = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
"""
_NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None


def upgrade():
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        assert connection.execute(sa.text("{locks}")).scalar_one() == 1
        assert connection.execute(sa.text("SHOW lock_timeout")).scalar_one() == "10s"
    op.add_column("run", sa.Column("note", sa.Text()))
"""


async def test_a_new_version_upgrades_the_database(
    database_url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Until then it refuses the database, and the version before refuses it afterwards.

    On PostgreSQL one upgrade runs at a time, and waits for a lock no longer than ten seconds.
    """
    async with opened(database_url) as database:
        await upgrade(database)
        folder = Path(shutil.copytree(ROOT / "migrations", tmp_path / "migrations"))
        step = folder / "versions" / "9999_next.py"
        step.write_text(_NEXT.format(head=HEAD, locks=" ".join(_LOCKS.split())))
        monkeypatch.setattr("worker.store.schema.upgrade._migrations_folder", lambda: folder)
        monkeypatch.setattr("worker.store.schema.upgrade.HEAD", "9999")
        with pytest.raises(ConfigurationError, match=f"is at {HEAD}, but .* needs 9999") as raised:
            await check_schema(database)
        assert "`pts-worker db upgrade`" in raised.value.hint
        assert await upgrade(database) == (HEAD, "9999")
        await check_schema(database)
        views = sorted(view_definitions(database.engine.dialect.name))
        assert await in_sync(database, names_in) == (TABLES, views)
        monkeypatch.undo()
        with pytest.raises(ConfigurationError, match=f"is at 9999, but .* knows only {HEAD}"):
            await check_schema(database)


async def test_the_tables_are_those_declared(database_url):
    """Every type, key, constraint and index of ``tables.py``; nothing is left to upgrade."""

    def declared(connection: Connection) -> dict[str, str]:
        for view in view_definitions(connection.dialect.name):
            connection.execute(text(f"DROP VIEW {view}"))
        metadata.drop_all(connection)
        metadata.create_all(connection)
        return catalog(connection)

    async with opened(database_url) as database:
        created = (TABLES, sorted(view_definitions(database.engine.dialect.name)))
        assert await in_sync(database, names_in) == created
        assert await upgrade(database) == (HEAD, HEAD)
        assert await in_sync(database, names_in) == created
        migrated = await in_sync(database, catalog)
        assert len(migrated) >= len(TABLES)
        assert migrated == await in_sync(database, declared)


def test_the_alembic_command_migrates_the_configured_database(tmp_path: Path):
    """With its settings, such as a file that the group may read."""
    file = tmp_path / "pts.db"
    environ = {"PTS_DATABASE__URL": f"sqlite:///{file}", "PTS_DATABASE__GROUP_READABLE": "true"}
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=os.environ | environ,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert oct(file.stat().st_mode & 0o777) == "0o640"
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


VERSION = "patient_{}_version"
DRAFT = "draft_patient_{}"
REFUSED = [
    # One row: a second one would be a second writer, or a second identity.
    "INSERT INTO lease (id) VALUES (2)",
    "INSERT INTO store_identity (id) VALUES (2)",
    # A publication has a number of its own, and no other run has one.
    "UPDATE run SET status = 'published', publication_no = 1",
    "UPDATE run SET status = 'published' WHERE publication_no IS NULL",
    "UPDATE run SET status = 'withheld'",
    "UPDATE run SET status = 'x' WHERE publication_no IS NULL",
    "UPDATE run SET kind = 'x'",
    "UPDATE run SET areas = NULL",
    "UPDATE person SET person_key = 'x'",
    "UPDATE person SET first_no = NULL",
    "UPDATE person_area SET person_id = 999 WHERE person_id = 1",
    "UPDATE draft SET person_key = 'x'",
    "UPDATE draft SET run_id = 999",
    "UPDATE draft_area SET state = 'x'",
    "UPDATE draft_area SET read_at = NULL",
    *(
        statement.format(version=VERSION.format(area), draft=DRAFT.format(area))
        for area in ("safety", "privacy")
        for statement in (
            # A version is open, or closed by a later publication for a reason.
            "UPDATE {version} SET closed_no = opened_no, closed_because = 'gone'",
            "UPDATE {version} SET closed_no = 99",
            "UPDATE {version} SET closed_because = 'gone'",
            "UPDATE {version} SET closed_no = 99, closed_because = 'x'",
            "UPDATE {version} SET person_id = 1, restriction_id = 'x'",
            "UPDATE {version} SET person_id = 999",
            "UPDATE {version} SET content_hash = NULL",
            "UPDATE {version} SET restricts = NULL",
            # A change ends a version, unless it is an insertion.
            "UPDATE {draft} SET op = 'update'",
            "UPDATE {draft} SET version_id = 1",
            "UPDATE {draft} SET op = 'x', version_id = 1",
            "UPDATE {draft} SET run_id = 999",
        )
    ),
]


async def test_the_database_refuses_what_no_run_may_write(database_url):
    """A bug, or a change by hand, cannot break what readers rely on: each statement fails."""
    async with world_on(database_url) as world:
        private = [record("p", area=PRIVACY), record("q", area=PRIVACY)]
        await world.publish(*(read(world, key, "a", "b", private=private) for key in "ab"))
        attempt = await world.begin()
        await attempt.write(*(read(world, key, "a", private=private[:1]) for key in "cd"))
        accepted = []
        for statement in REFUSED:
            with suppress(IntegrityError):
                await world.rows_written(statement)
                accepted.append(statement)
        assert accepted == []


async def test_no_number_of_a_deleted_row_is_given_again(database_url):
    """A copy knows versions and persons by number: after the last ones went, others come."""
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "x"))
        numbers = "SELECT person_id, version_id FROM patient_safety_version"
        ((person, version),) = await world.rows(numbers)
        await world.erase("a")
        await world.publish(read(world, "b", "y"))
        assert await world.rows(numbers) == [(person + 1, version + 1)]
