"""A PostgreSQL database for each test of shards."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.clock import FakeRuntime
from tests.support.databases import copied_database
from tests.support.shard_world import World
from worker.store.database import open_database


@pytest.fixture
def shard_url(postgres_url: str, migrated_postgres: str) -> Iterator[str]:
    """The URL of a fresh database at the program's schema."""
    with copied_database(postgres_url, migrated_postgres) as url:
        yield url


@pytest.fixture
async def world(shard_url: str) -> AsyncIterator[World]:
    """A store for shards; at the end no connection is left in use."""
    fake = FakeRuntime()
    async with open_database(shard_url, fake.runtime) as database:
        yield World(url=shard_url, database=database, fake=fake)
        assert "Current Checked out connections: 0" in database.engine.pool.status()
