"""Fixtures of the report's tests."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A fresh SQLite database, where only what is made of the facts is in question."""
    path = tmp_path / "pts.db"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"
