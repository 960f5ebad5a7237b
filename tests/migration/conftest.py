"""A database that no migration has seen."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import anyio
import pytest

from tests.support.databases import execute, in_database

_names = count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table, of each kind."""
    if request.param == "sqlite":
        (tmp_path / "pts.db").touch(0o600)
        yield f"sqlite:///{tmp_path / 'pts.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    name = f"migrated_{next(_names)}"
    anyio.run(execute, server, f"CREATE DATABASE {name}")
    yield in_database(server, name)
    anyio.run(execute, server, f"DROP DATABASE {name} WITH (FORCE)")
