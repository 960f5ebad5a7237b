"""The migrations on each database: the tables as declared, and an upgrade that waits."""

import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.ports import real_runtime
from worker.store.database import Database, open_database
from worker.store.schema.tables import metadata
from worker.store.schema.upgrade import HEAD, upgrade
from worker.store.schema.views import view_definitions

TABLES = sorted([*metadata.tables, "alembic_version"])
NOT_DECLARED = {"index", "unique_constraint"}
"""What a migration alone says."""


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


def differences(connection: Connection) -> list[Any]:
    """What autogenerate would still change."""
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "compare_server_default": True,
            "include_object": lambda _object, _name, kind, *_: kind not in NOT_DECLARED,
        },
    )
    with warnings.catch_warnings():
        # Alembic looks at each index, and SQLAlchemy cannot reflect those of an expression.
        warnings.simplefilter("ignore", SAWarning)
        return list(compare_metadata(context, metadata))


async def test_the_tables_are_those_declared(database_url):
    """As ``worker.store.schema.tables`` has them, with the views; nothing is left to upgrade."""
    async with opened(database_url) as database:
        assert await in_sync(database, differences) == []
        created = (TABLES, sorted(view_definitions(database.dialect.name)))
        assert await in_sync(database, names_in) == created
        assert await upgrade(database) == (HEAD, HEAD)
        assert await in_sync(database, names_in) == created
        assert await in_sync(database, differences) == []
