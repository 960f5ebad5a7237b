"""Any sequence of nights, faults and deaths: what readers see is what the model says.

``make test`` tries a few sequences, a night dozens, others each time. pytest tells their seed, and
``--hypothesis-seed`` brings them back. For long, as in ``make simulate``::

    python -m pytest tests/simulation/stateful --hypothesis-profile long

which tries 400 of 60 steps on SQLite and a tenth of that on PostgreSQL: a quarter of an hour.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.databases import copy_database
from tests.support.stateful.attempts import StoreUnderTest
from tests.support.stateful.machine import StoreMachine

pytestmark = [pytest.mark.promise("1"), pytest.mark.promise("2"), pytest.mark.promise("3")]


@contextmanager
def machine_on(url: str) -> Iterator[type[StoreMachine]]:
    """The machine on a database of its own."""
    store = StoreUnderTest(url)

    class Machine(StoreMachine):
        pass

    Machine.store = store
    try:
        yield Machine
    finally:
        store.close()


def tried(share: float, examples: int, steps: int) -> settings:
    """The suite's few examples; with another profile, that share of its number."""
    chosen = settings()
    if settings.get_current_profile_name() == "suite":
        return settings(chosen, derandomize=False, max_examples=examples, stateful_step_count=steps)
    return settings(chosen, max_examples=max(1, int(chosen.max_examples * share)))


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder in memory where the machine has such a place: SQLite waits for each commit."""
    memory = Path("/dev/shm")  # noqa: S108 - where it exists it is for this
    with TemporaryDirectory(prefix="pts-stateful-", dir=memory if memory.is_dir() else None) as one:
        yield Path(one)


@pytest.mark.parametrize(
    ("examples", "steps"), [(3, 20), pytest.param(60, 30, marks=pytest.mark.nightly)]
)
def test_sqlite(migrated_sqlite, memory_folder, examples, steps):
    """On SQLite."""
    path = memory_folder / "pts.db"
    shutil.copy(migrated_sqlite, path)
    with machine_on(f"sqlite:///{path}") as machine:
        run_state_machine_as_test(machine, settings=tried(1, examples=examples, steps=steps))


@pytest.mark.nightly
def test_postgresql(postgres_url, migrated_postgres):
    """On PostgreSQL, fewer."""
    with machine_on(copy_database(postgres_url, migrated_postgres)) as machine:
        run_state_machine_as_test(machine, settings=tried(0.1, examples=12, steps=25))
