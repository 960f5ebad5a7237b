"""PostgreSQL, for tests that ask something of it alone."""

from collections.abc import Iterator

import pytest

from tests.support.databases import copied_database


@pytest.fixture
def postgresql_url(postgres_url: str, migrated_postgres: str) -> Iterator[str]:
    """A fresh PostgreSQL database at the program's schema."""
    with copied_database(postgres_url, migrated_postgres) as url:
        yield url
