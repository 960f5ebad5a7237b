"""PostgreSQL behind a pooler."""

from collections.abc import Iterator

import anyio
import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.acceptance.conftest import MakeDatabase
from tests.support.network.pooler import pooler
from tests.support.program import Installation, Sandbox, sandbox
from worker.errors import ConfigurationError
from worker.runtime import real_runtime
from worker.store.database import open_database

pytestmark = pytest.mark.promise("4")

PERSONS = 30
IDLE_S = 7.0
LIMITS = (
    "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox for whole runs."""
    with sandbox(tmp_path_factory.mktemp("served"), "--persons", str(PERSONS)) as made:
        yield made


@pytest.fixture
def fresh(make_postgres: MakeDatabase) -> str:
    """An empty database of the program's."""
    return make_postgres()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_two_nights(served: Sandbox, tmp_path_factory, make_postgres: MakeDatabase, mode: str):
    """Every command that a night needs, by a pooler that takes no settings at start-up."""
    url = make_postgres()
    with pooler(url, mode, keeps_statements=True) as between:
        worker = served.install(tmp_path_factory.mktemp("worker"), between.url())
        worker.configure(sync={"batch_persons": 5, "concurrency": 4})
        for generation in (1, 2):
            served.control(generation=generation)
            ended = worker.sync("--accept-removals")
            assert ended.code == 0, ended.story()
            assert ended.run["totals"]["persons_complete"] == PERSONS
        for command in (["status"], ["verify", "--sample", "5"], ["db", "check"]):
            ended = worker.run(*command)
            assert ended.code == 0, ended.story()
        assert set() == between.refused
        if mode == "transaction":
            assert between.transactions > 40
            assert between.switches == between.transactions
    store = Installation(folder=worker.folder, database_url=url).store
    assert store.runs() == [("published", 0)] * 2
    assert store.ids() == _undisturbed(served, tmp_path_factory, make_postgres()).store.ids()


def _undisturbed(served: Sandbox, tmp_path_factory, url: str) -> Installation:
    """The same without a pooler."""
    worker = served.install(tmp_path_factory.mktemp("twin"), url)
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    return worker


def test_statements_that_are_lost(served: Sandbox, tmp_path, make_postgres: MakeDatabase):
    """In transaction mode without their being kept: 78, with what to do; nothing is published."""
    url = make_postgres()
    with pooler(url, "transaction") as between:
        worker = served.install(tmp_path, between.url())
        ended = worker.sync()
        assert ended.code == 78, ended.story()
        assert "loses the statements that were prepared" in ended.message
        assert "pool_mode = session, or max_prepared_statements" in ended.message
    store = Installation(folder=tmp_path, database_url=url).store
    assert store.rows("SELECT 1 FROM run WHERE publication_no IS NOT NULL") == []


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_each_transaction_brings_its_limits(fresh: str, mode: str):
    """Reads and writes, on whatever connection; and none of it stays behind on one."""
    with pooler(fresh, mode, keeps_statements=True) as between:
        async with open_database(
            between.url(), real_runtime(), patience_s=20.0, idle_s=IDLE_S
        ) as database:
            for use in (database.read, database.write) * 4:
                assert await use(_limits) == ("10s", "7s")
        after = await asyncpg.connect(between.url(), statement_cache_size=0)
        for _ in range(6):
            async with after.transaction():
                assert tuple(await after.fetchrow(LIMITS)) == ("0", "0")
        await after.close()


async def _limits(connection: AsyncConnection) -> tuple[str, str]:
    return tuple((await connection.execute(text(LIMITS))).one())


async def test_limits_that_do_not_hold(fresh: str):
    """They are read back in the first transaction: refused rather than a lease locked for ever."""
    async with open_database(fresh, real_runtime(), idle_s=IDLE_S) as database:
        assert database.limits is not None
        database.limits.statements = lambda: ""  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match="do not hold within a transaction"):
            await database.read(_limits)


async def test_a_transaction_that_stands_still_is_ended(fresh: str):
    """Behind a pooler too, so that the lease's row is free again."""
    with pooler(fresh, "transaction", keeps_statements=True) as between:
        async with open_database(
            between.url(), real_runtime(), patience_s=0.2, idle_s=0.5
        ) as database:
            with pytest.raises(Exception, match=r"idle|closed|unavailable"):
                await database.write(_stand_still)


async def _stand_still(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 1 FROM lease FOR UPDATE"))
    await anyio.sleep(1.0)
    await connection.execute(text("SELECT 1"))
