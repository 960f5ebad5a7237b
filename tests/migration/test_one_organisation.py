"""Revision 0011 takes the tenant out of six tables: nothing else of them changes."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from tests.migration.test_populated import make_old
from tests.support.migration.old_store import A, at
from tests.support.store_world import World, read, world_on
from worker.errors import SchemaError
from worker.store.dialects import dialect_named
from worker.store.schema.upgrade import HEAD, alembic_config, check_schema, revision, upgrade
from worker.store.schema.views import view_definitions

BEFORE = "0010"
CHANGED = ("lease", "run", "person", "area_key", "drift", "access_log")
F = "f" * 64
GONE = f"""
    INSERT INTO access_log (tenant_id, accessed_at, os_user, host, command)
    VALUES (1, '{at(9)}', 'pts', 'h', 'report');
    INSERT INTO run (tenant_id, kind, status, areas, started_at, worker_version)
    VALUES (1, 'sync', 'abandoned', '[]', '{at(5)}', '0.1.0');
    INSERT INTO person (tenant_id, person_key, first_run, local_ref_run) VALUES (1, '{F}', 1, 1);
    DELETE FROM run WHERE status = 'abandoned';
    DELETE FROM person WHERE person_key = '{F}'
"""
"""A row of the access log, and the last run and the last person, who went again."""


async def old_world(world: World, *statements: str) -> None:
    await make_old(world, BEFORE)
    for statement in (*GONE.split(";"), *statements):
        await world.rows_written(statement)


OTHERWISE = {"tenant_id", "prev_local_ref", "prev_cohort", "not_before"}


async def everything(world: World) -> dict[str, list[list[tuple[str, Any]]]]:
    """Each row of each table as names and values, but for the tenant's and what came later."""

    def work(connection: Connection) -> dict[str, list[list[tuple[str, Any]]]]:
        found = {}
        for table in set(inspect(connection).get_table_names()) - {
            "alembic_version",
            "tenant",
            "store_identity",
            "publication",
            "publication_code",
            "publication_cohort",
            "change_feed",
            "person_label",
        }:
            rows = connection.execute(text(f"SELECT * FROM {table}")).mappings()
            found[table] = sorted(
                [
                    sorted((name, value) for name, value in row.items() if name not in OTHERWISE)
                    for row in rows
                ],
                key=repr,
            )
        return found

    return await world.database.read(lambda connection: connection.run_sync(work))


async def schema(world: World) -> dict[str, list[str]]:
    """The columns of each table and view."""

    def work(connection: Connection) -> dict[str, list[str]]:
        seen = inspect(connection)
        names = [*seen.get_table_names(), *seen.get_view_names()]
        return {name: [column["name"] for column in seen.get_columns(name)] for name in names}

    return await world.database.read(lambda connection: connection.run_sync(work))


async def test_every_row_stays(empty_url: str):
    """As it was, with the numbers of what went, the access log's triggers and the references."""
    async with world_on(empty_url) as world:
        await old_world(world, f"UPDATE tenant SET identity = 'plain', key_check = '{A}'")
        before = await everything(world)
        assert all(before[table] for table in CHANGED)
        assert await upgrade(world.database) == (BEFORE, HEAD)
        assert before == await everything(world)
        assert await world.rows("SELECT * FROM store_identity") == [(1, "plain", A, None)]
        assert "tenant" not in repr(await schema(world))
        for change in ("UPDATE access_log SET host = 'x'", "DELETE FROM access_log"):
            if "DELETE" in change:
                await world.rows_written(
                    "INSERT INTO access_log (accessed_at, os_user, host, command) "
                    "VALUES ('2999-01-01T00:00:00.000000+00:00', 'pts', 'h', 'report')"
                )
            with pytest.raises(DBAPIError, match="append-only"):
                await world.rows_written(change)
        attempt = await world.begin()
        assert attempt.handle.run_id == 6
        await attempt.write(read(world, "new", "k"))
        assert await world.rows(
            "SELECT person_id FROM person WHERE person_key NOT IN "
            f"('{A}', '{'b' * 64}', '{'c' * 64}')"
        ) == [(5,)]


async def test_references_are_checked_afterwards(empty_url: str):
    """No row refers to one that is not there, and none can be made to."""
    async with world_on(empty_url) as world:
        await old_world(world)
        await upgrade(world.database)
        if world.database.dialect.name == "sqlite":
            assert await world.rows("PRAGMA foreign_key_check") == []
        for table in ("failure", "person_area"):
            with pytest.raises(DBAPIError, match=r"(?i)foreign key"):
                await world.rows_written(f"UPDATE {table} SET person_id = 99 WHERE person_id = 3")
        with pytest.raises(DBAPIError, match=r"(?i)foreign key"):
            await world.rows_written("DELETE FROM run WHERE run_id = 1")


async def test_a_second_organisation_is_refused(empty_url: str):
    """Nothing of any step is done, and the message says what to do."""
    async with world_on(empty_url) as world:
        await old_world(world, "INSERT INTO tenant (tenant_id, name) VALUES (2, 'neighbour')")
        before = (await schema(world), await everything(world))
        with pytest.raises(SchemaError, match=r"tenant has 2 rows.* nothing was changed") as caught:
            await upgrade(world.database)
        assert "docs/operations.md" in caught.value.hint
        assert before == (await schema(world), await everything(world))
        assert await world.database.read(revision) == BEFORE
        await world.rows_written("DELETE FROM tenant WHERE tenant_id = 2")
        await upgrade(world.database)
        await check_schema(world.database)


async def test_a_view_of_the_operators_own_stays(tmp_path: Path):
    """SQLite renames tables although a view refers to one of ours, which is not there meanwhile.

    PostgreSQL refuses to drop ours: the operator drops theirs first.
    """
    (tmp_path / "pts.db").touch(0o600)
    async with world_on(f"sqlite:///{tmp_path / 'pts.db'}") as world:
        await upgrade(world.database)
        await world.rows_written("CREATE VIEW ours AS SELECT run_id FROM report_run")
        await world.database.alter(lambda connection: connection.run_sync(down))
        await upgrade(world.database)
        assert await world.rows("SELECT * FROM ours") == []


def down(connection: Connection) -> None:
    for view in view_definitions(dialect_named(connection.dialect.name)):
        connection.execute(text(f"DROP VIEW {view}"))
    command.downgrade(alembic_config(connection=connection), BEFORE)


async def test_it_can_be_taken_back(empty_url: str):
    """Rows, columns and constraints are those of before."""
    async with world_on(empty_url) as world:
        await old_world(world)
        shape, before = await schema(world), await everything(world)
        await upgrade(world.database)
        await world.database.alter(lambda connection: connection.run_sync(down))
        assert before == await everything(world)
        assert {name: set(columns) for name, columns in shape.items()} == {
            name: set(columns) for name, columns in (await schema(world)).items()
        }
        with pytest.raises(DBAPIError, match=r"(?i)unique"):
            await world.rows_written(
                "INSERT INTO person (tenant_id, person_key, first_run, local_ref_run) "
                f"VALUES (1, '{A}', 1, 1)"
            )
        await upgrade(world.database)
        assert before == await everything(world)
