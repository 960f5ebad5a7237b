"""PostgreSQL ends a transaction that stands still, or one would hold the lease's row for ever."""

from dataclasses import replace

import anyio
import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import StoppedError, UnavailableError
from worker.ports import real_runtime
from worker.store.database import Database, open_database

pytestmark = pytest.mark.promise("4")

SETTINGS = "lock_timeout", "idle_in_transaction_session_timeout", "plan_cache_mode"


async def _settings(connection: AsyncConnection) -> list[str]:
    return [(await connection.execute(text(f"SHOW {name}"))).scalar_one() for name in SETTINGS]


async def test_each_connection_has_its_limits(postgresql_url: str):
    """For reads and writes; and no plan is kept from when a table was empty."""
    async with open_database(
        postgresql_url, real_runtime(), patience_s=20.0, idle_s=7.0
    ) as database:
        for use in (database.read, database.write) * 2:
            assert await use(_settings) == ["20s", "7s", "force_custom_plan"]


async def test_a_transaction_that_stands_still_is_ended(postgresql_url: str):
    """What it has locked is free again, and the transaction is over: it is repeated."""
    other = await asyncpg.connect(postgresql_url)
    attempts = 0

    async def stand_still(connection: AsyncConnection) -> int:
        nonlocal attempts
        attempts += 1
        await connection.execute(text("LOCK TABLE lease"))
        if attempts == 1:
            await other.execute("SELECT count(*) FROM lease", timeout=60)
        await connection.execute(text("SELECT 1"))
        return attempts

    async with open_database(
        postgresql_url, real_runtime(), patience_s=60.0, idle_s=0.5
    ) as database:
        assert await database.write(stand_still) > 1
    await other.close()


async def _sleep(connection: AsyncConnection, seconds: float) -> float:
    await connection.execute(text(f"SELECT pg_sleep({seconds})"))
    return seconds


async def test_a_server_that_does_not_answer_is_given_up(postgresql_url: str):
    """69, and nobody asks it again; what may last has an hour."""
    async with open_database(postgresql_url, real_runtime(), patience_s=1.0) as database:
        hasty = replace(database, limit_s=1.0)
        assert await hasty.for_long_transactions().read(_sleep, 2.0) == 2.0
        with pytest.raises(UnavailableError, match="no answer in time"):
            await hasty.write(_sleep, 600.0)
        with pytest.raises(UnavailableError, match="no answer in time"):
            await database.read(_sleep, 0.0)


async def test_a_stop_does_not_wait_for_an_answer(postgresql_url: str):
    """Nor for what began before it, nor for what may last."""
    stop = anyio.Event()

    async def ask(database: Database) -> None:
        with pytest.raises(StoppedError, match="stopped while waiting for the database"):
            await database.write(_sleep, 600.0)

    async with (
        open_database(postgresql_url, real_runtime(), patience_s=600.0, stop=stop) as database,
        anyio.create_task_group() as group,
    ):
        group.start_soon(ask, database)
        group.start_soon(ask, database.for_long_transactions())
        await anyio.sleep(1.0)
        stop.set()
