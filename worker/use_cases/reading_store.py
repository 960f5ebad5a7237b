"""The database of a use case that needs no run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.app import App
from worker.store.database import Database
from worker.store.queries.status import require_file
from worker.store.schema.upgrade import check_schema


@asynccontextmanager
async def store_to_read(app: App) -> AsyncIterator[Database]:
    """Open the store and check its schema. A missing SQLite file is not created.

    Raises:
        SchemaError: the database is missing, behind or ahead.
    """
    async with app.database(checked=False) as database:
        require_file(database)
        await check_schema(database)
        yield database
