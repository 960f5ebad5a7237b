"""The migrations on each database: the tables as declared, and an upgrade that waits."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, TypeDecorator, inspect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from worker.ports import real_runtime
from worker.store.database import Database, open_database
from worker.store.schema.tables import metadata
from worker.store.schema.upgrade import HEAD, upgrade
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


def columns_in(connection: Connection) -> dict[str, dict[str, Any]]:
    """The kind of value that each column of our tables holds, as SQLAlchemy finds it."""
    found = inspect(connection)
    return {
        name: {one["name"]: one["type"].python_type for one in found.get_columns(name)}
        for name in metadata.tables
    }


def declared(dialect: Dialect) -> dict[str, dict[str, Any]]:
    """The same, as the tables are declared."""
    return {
        table.name: {one.name: _kind(one.type.dialect_impl(dialect)) for one in table.columns}
        for table in metadata.tables.values()
    }


def _kind(kind: TypeEngine[Any]) -> type:
    plain = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    return plain.python_type


async def test_the_tables_are_those_declared(database_url):
    """As ``worker.store.schema.tables`` has them, with the views; nothing is left to upgrade."""
    async with opened(database_url) as database:
        created = (TABLES, sorted(view_definitions(database.dialect.name)))
        for _ in range(2):
            assert await in_sync(database, names_in) == created
            assert await in_sync(database, columns_in) == declared(database.dialect)
            assert await upgrade(database) == (HEAD, HEAD)
