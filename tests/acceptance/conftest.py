"""Databases and stand-ins for runs of the program."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import make_url

from tests.support.databases import copy_database
from tests.support.program import Installation, Sandbox, sandbox
from tests.support.standin import Standin
from tests.support.standin import standin as serve

MakeDatabase = Callable[..., str]
"""Makes a fresh database at the program's schema, or a copy: ``make(like=URL)``."""

FAILING = 3
"""The line of the roster, from 0, whose patient-safety area fails in the second of ``two_runs``."""

DATABASES = ("sqlite", "postgresql")
T = TypeVar("T")


@pytest.fixture
def standin() -> Iterator[Standin]:
    """The second stand-in, for one test."""
    with serve() as made:
        yield made


@pytest.fixture(scope="session")
def make_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    """Makes fresh SQLite files at the program's schema."""

    def make(*, like: str = "") -> str:
        path = tmp_path_factory.mktemp("db") / "pts.db"
        shutil.copy(like.removeprefix("sqlite:///") or migrated_sqlite, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(scope="session")
def make_postgres(postgres_url: str, migrated_postgres: str) -> MakeDatabase:
    """Makes fresh PostgreSQL databases at the program's schema."""

    def make(*, like: str = "") -> str:
        template = make_url(like).database if like else None
        return copy_database(postgres_url, template or migrated_postgres)

    return make


def side_by_side(work: Callable[[str], T]) -> dict[str, T]:
    """Do the same on both databases at the same time: most of it is waiting."""
    with ThreadPoolExecutor(2) as threads:
        return dict(zip(DATABASES, threads.map(work, DATABASES), strict=True))


@pytest.fixture(scope="module", params=DATABASES)
def make_database(request: pytest.FixtureRequest) -> MakeDatabase:
    """Makes fresh databases, for a module on each database that we support."""
    name = "make_sqlite" if request.param == "sqlite" else "make_postgres"
    made: MakeDatabase = request.getfixturevalue(name)
    return made


@pytest.fixture
def sqlite_url(make_sqlite: MakeDatabase) -> str:
    """A fresh SQLite file."""
    return make_sqlite()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of 30 persons for all tests of commands; a test that changes it changes it back."""
    with sandbox(tmp_path_factory.mktemp("served"), "--persons", "30") as made:
        yield made


@pytest.fixture(scope="session")
def two_runs(
    served: Sandbox, make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """A store after two runs: changes in the second, and one person's area that failed."""
    made = served.install(tmp_path_factory.mktemp("two-runs"), make_sqlite())
    assert made.sync().code == 0
    fault = {"action": "status", "status": 500, "area": "patient-safety", "persons": [FAILING]}
    served.control(generation=15, faults=[fault])
    assert made.sync("--accept-removals", "--set", "sync.retry_attempts=2").code == 3
    served.control(faults=[])
    return made


@pytest.fixture
def worker(two_runs: Installation, served: Sandbox, tmp_path: Path) -> Installation:
    """A worker with a copy of that store, for one test."""
    shutil.copy(two_runs.store.path, tmp_path / "pts.db")
    return served.install(tmp_path, f"sqlite:///{tmp_path / 'pts.db'}")
