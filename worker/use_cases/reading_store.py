"""The database of a use case that needs no run."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.app import App
from worker.store.database import Database
from worker.store.queries.status import require_file
from worker.store.schema.upgrade import check_schema


@asynccontextmanager
async def store_to_read(app: App, *, patience_s_max: float = math.inf) -> AsyncIterator[Database]:
    """Open the store and check its schema. A missing SQLite file is not created.

    Args:
        app: the configured program.
        patience_s_max: wait no longer for a database that is away, whatever is configured.

    Raises:
        SchemaError: the database is missing, behind or ahead.
    """
    async with app.database(checked=False, patience_s_max=patience_s_max) as database:
        require_file(database)
        await check_schema(database)
        yield database
