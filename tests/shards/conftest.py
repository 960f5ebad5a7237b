"""A PostgreSQL database for each test of shards."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import anyio
import pytest

from tests.databases import execute, in_database
from tests.fakes import FakeRuntime
from tests.shards.world import World
from worker.store.database import open_database

_numbers = count(1)


@pytest.fixture
def shard_url(postgres_url: str, migrated_postgres: str) -> Iterator[str]:
    """The URL of a fresh database at the program's schema."""
    name = f"shards_{next(_numbers)}"
    anyio.run(execute, postgres_url, f"CREATE DATABASE {name} TEMPLATE {migrated_postgres}")
    yield in_database(postgres_url, name)
    anyio.run(execute, postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def world(shard_url: str) -> AsyncIterator[World]:
    """A store for shards; at the end no connection is left in use."""
    fake = FakeRuntime()
    async with open_database(shard_url, fake.runtime) as database:
        yield World(url=shard_url, database=database, fake=fake)
        assert "Current Checked out connections: 0" in database.engine.pool.status()
