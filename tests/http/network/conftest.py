"""Databases for runs over a network."""

import pytest

from tests.support.made_databases import MakeDatabase, postgres_maker


@pytest.fixture(scope="session")
def make_postgres(postgres_url: str, migrated_postgres: str) -> MakeDatabase:
    """Makes fresh PostgreSQL databases at the program's schema."""
    return postgres_maker(postgres_url, migrated_postgres)
