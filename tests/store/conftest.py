"""One kind of database, for tests that ask the same of both or of one alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import copied_database


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A fresh SQLite file at the program's schema."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'pts.db')}"


@pytest.fixture
def postgresql_url(postgres_url: str, migrated_postgres: str) -> Iterator[str]:
    """A fresh PostgreSQL database at the program's schema."""
    with copied_database(postgres_url, migrated_postgres) as url:
        yield url
