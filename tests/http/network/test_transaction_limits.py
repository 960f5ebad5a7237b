"""PostgreSQL ends a transaction that stands still, or one would hold the lease's row for ever."""

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.made_databases import MakeDatabase
from worker.errors import ConfigurationError
from worker.runtime import real_runtime
from worker.store.database import open_database

pytestmark = pytest.mark.promise("4")

LIMITS = (
    "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
)


@pytest.fixture
def fresh(make_postgres: MakeDatabase) -> str:
    """An empty database of the program's."""
    return make_postgres()


async def _limits(connection: AsyncConnection) -> tuple[str, str]:
    return tuple((await connection.execute(text(LIMITS))).one())


async def test_each_transaction_brings_its_limits(fresh: str):
    """Reads and writes, as a pooler may give each another connection (PgBouncer)."""
    async with open_database(fresh, real_runtime(), patience_s=20.0, idle_s=7.0) as database:
        for use in (database.read, database.write) * 2:
            assert await use(_limits) == ("10s", "7s")


async def test_limits_that_do_not_hold(fresh: str):
    """They are read back in the first transaction: refused rather than a lease locked for ever."""
    async with open_database(fresh, real_runtime(), idle_s=7.0) as database:
        assert database.limits is not None
        database.limits.statements = lambda: ""  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match="do not hold within a transaction"):
            await database.read(_limits)


async def test_a_transaction_that_stands_still_is_ended(fresh: str):
    """What it has locked is free again, and the transaction is over: it is repeated."""
    other = await asyncpg.connect(fresh)
    attempts = 0

    async def stand_still(connection: AsyncConnection) -> int:
        nonlocal attempts
        attempts += 1
        await connection.execute(text("LOCK TABLE lease"))
        if attempts == 1:
            await other.execute("SELECT count(*) FROM lease", timeout=60)
        await connection.execute(text("SELECT 1"))
        return attempts

    async with open_database(fresh, real_runtime(), patience_s=60.0, idle_s=0.5) as database:
        assert await database.write(stand_still) > 1
    await other.close()
