"""The migrations on each database: up, down, up; the tables as declared; other schemas refused."""

import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import AsyncConnection

import worker.store.schema.indexes  # noqa: F401 - adds them to the metadata
from tests.support.databases import execute, in_database
from worker.errors import SchemaError, UnavailableError
from worker.runtime import real_runtime
from worker.store.database import Database, open_database
from worker.store.dialects import dialect_named
from worker.store.schema.tables import metadata
from worker.store.schema.upgrade import HEAD, LOCK, alembic_config, check_schema, revision, upgrade
from worker.store.schema.views import view_definitions

BY_RUN = "ix_person_area_run_id"
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


async def names_in(database: Database) -> tuple[list[str], list[str]]:
    """Tables and views."""
    tables, views = await in_sync(
        database,
        lambda connection: (
            sorted(inspect(connection).get_table_names()),
            sorted(inspect(connection).get_view_names()),
        ),
    )
    return tables, views


def differences(connection: Connection) -> list[Any]:
    """What autogenerate would still change."""
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            # BRIN, on PostgreSQL alone: no declaration says so for one database.
            "include_name": lambda name, kind, _: (kind, name) != ("index", BY_RUN),
        },
    )
    with warnings.catch_warnings():
        # Alembic looks at each index, and SQLAlchemy cannot reflect those of an expression.
        warnings.simplefilter("ignore", SAWarning)
        return list(compare_metadata(context, metadata))


def take_back(connection: Connection) -> None:
    """Every step back, the latest first."""
    for view in view_definitions(dialect_named(connection.dialect.name)):
        connection.execute(text(f"DROP VIEW {view}"))
    with Operations.context(MigrationContext.configure(connection)):
        for script in ScriptDirectory.from_config(alembic_config()).walk_revisions():
            script.module.downgrade()
    connection.execute(text("DELETE FROM alembic_version"))


async def test_up_down_up(database_url):
    """Every step can be taken back and taken again, from an empty database to the views.

    After the last one the database is what ``worker.store.schema.tables`` declares.
    """
    async with opened(database_url) as database:
        assert await in_sync(database, differences) == []
        assert await upgrade(database) == (HEAD, HEAD)
        created = await names_in(database)
        assert created == (TABLES, sorted(view_definitions(database.dialect)))

        await in_sync(database, take_back)
        assert await database.read(revision) is None
        tables, _ = await names_in(database)
        assert [name for name in tables if not name.startswith("sqlite_")] == ["alembic_version"]
        assert await upgrade(database) == (None, HEAD)
        assert await names_in(database) == created
        assert await in_sync(database, differences) == []


REFUSED = {
    "0000": ("behind", "pts-worker db upgrade"),
    None: ("no tables", "pts-worker db upgrade"),
    "9999": ("ahead", "newer program"),
}


async def test_another_schema_is_refused(sqlite_url):
    """A schema that is behind, ahead or missing is refused, with what helps; ours is not.

    An older program leaves a newer database as it is.
    """

    def set_revision(connection: Connection, found: str | None) -> None:
        connection.execute(text("DELETE FROM alembic_version"))
        if found is not None:
            connection.execute(text(f"INSERT INTO alembic_version VALUES ('{found}')"))

    async with opened(sqlite_url) as database:
        await check_schema(database)
        before = await names_in(database)
        for found, (says, helps) in REFUSED.items():
            await in_sync(database, partial(set_revision, found=found))
            with pytest.raises(SchemaError) as caught:
                await check_schema(database)
            assert says in caught.value.message
            assert helps in caught.value.hint
        with pytest.raises(SchemaError, match="ahead"):
            await upgrade(database)
        assert await names_in(database) == before


@pytest.fixture
def empty_postgres(postgres_url: str) -> Iterator[str]:
    """A database without tables."""
    anyio.run(execute, postgres_url, "CREATE DATABASE pts_empty")
    yield in_database(postgres_url, "pts_empty")
    anyio.run(execute, postgres_url, "DROP DATABASE pts_empty WITH (FORCE)")


async def test_an_upgrade_that_goes_on_for_too_long(empty_postgres: str):
    """One that waits for it says so, and can be started again."""
    async with (
        opened(empty_postgres) as first,
        open_database(empty_postgres, real_runtime(), patience_s=1) as second,
    ):

        async def held(connection: AsyncConnection) -> None:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            with pytest.raises(UnavailableError):
                await upgrade(second)

        await first.write(held)
        await upgrade(first)
        await check_schema(first)
