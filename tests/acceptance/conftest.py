"""Databases and stand-ins for runs of the program."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.made_databases import MakeDatabase, copy_of, maker
from tests.support.program import Installation, Sandbox, sandbox
from tests.support.standin import Standin
from tests.support.standin import standin as serve
from tests.support.two_runs import FAULT


def two_runs_of(served: Sandbox, folder: Path, database_url: str) -> Installation:
    """Changes in the second run, and one person's area that failed."""
    made = served.install(folder, database_url)
    served.control(generation=0, faults=[])
    assert made.sync().code == 0
    served.control(generation=15, faults=[FAULT])
    assert (
        made.sync("--set", "sync.max_removed_share=1", "--set", "sync.retry_attempts=2").code == 3
    )
    served.control(faults=[])
    return made


@pytest.fixture
def standin() -> Iterator[Standin]:
    """The second stand-in, for one test."""
    with serve() as made:
        yield made


@pytest.fixture(scope="session")
def make_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    """Makes fresh SQLite files at the program's schema."""
    return maker(f"sqlite:///{migrated_sqlite}", tmp_path_factory)


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
    return served.install(tmp_path, copy_of(two_runs.database_url, tmp_path))
