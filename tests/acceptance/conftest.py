"""Databases and stand-ins for runs of the program."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.made_databases import DATABASES, MakeDatabase, sqlite_maker
from tests.support.program import Installation, Sandbox, sandbox
from tests.support.standin import Standin
from tests.support.standin import standin as serve
from tests.support.two_runs import two_runs_of


@pytest.fixture
def standin() -> Iterator[Standin]:
    """The second stand-in, for one test."""
    with serve() as made:
        yield made


@pytest.fixture(scope="session")
def make_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    """Makes fresh SQLite files at the program's schema."""
    return sqlite_maker(migrated_sqlite, tmp_path_factory)


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
    return two_runs_of(served, tmp_path_factory.mktemp("two-runs"), make_sqlite())


@pytest.fixture
def worker(two_runs: Installation, served: Sandbox, tmp_path: Path) -> Installation:
    """A worker with a copy of that store, for one test."""
    shutil.copy(two_runs.store.path, tmp_path / "pts.db")
    return served.install(tmp_path, f"sqlite:///{tmp_path / 'pts.db'}")
