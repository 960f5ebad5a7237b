"""Fixtures that more than one kind of test needs."""

import os
import shutil
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import anyio
import pytest
from hypothesis import settings

from tests.databases import execute, in_database, migrate_now, postgres_server

# A zone far from UTC, so that a naive local time shows at once.
os.environ["TZ"] = "Asia/Dubai"
time.tzset()

# The same examples every time: a failure is one of the change, not of chance or a busy machine.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

_names = count(1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL; its ``postgres`` database."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """The name of a database at the program's schema, to be copied."""
    name = "pts_template"
    anyio.run(execute, postgres_url, f"CREATE DATABASE {name}")
    migrate_now(in_database(postgres_url, name))
    return name


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the program's schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "pts.db"
    migrate_now(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database at the program's schema, on each database that we support."""
    if request.param == "sqlite":
        path = tmp_path / "pts.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres_url")
    template = request.getfixturevalue("migrated_postgres")
    name = f"pts_{next(_names)}"
    anyio.run(execute, server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield in_database(server, name)
    anyio.run(execute, server, f"DROP DATABASE {name} WITH (FORCE)")
