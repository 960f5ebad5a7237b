"""Any sequence of nights, faults and deaths: what readers see is what the model says.

``make test`` tries a few sequences, a night dozens, others each time. pytest tells their seed, and
``--hypothesis-seed`` brings them back. For long, as in ``make simulate``::

    python -m pytest tests/simulation/stateful --hypothesis-profile long

which tries 400 of 60 steps on SQLite and a hundredth of that on PostgreSQL.
"""

import random
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from tests.support.databases import copied_database
from tests.support.simulation.loop import Clock
from tests.support.simulation.materials import fast_folder, materials
from tests.support.simulation.nth_call import in_world
from tests.support.simulation.nth_call_postgres import AFTER, BEFORE, PostgresStage
from tests.support.simulation.process import COMMIT, DATABASE, Trouble
from tests.support.simulation.scenario import STARTS
from tests.support.simulation.stage import Stage
from tests.support.stateful.machine import NightsMachine, World

pytestmark = [pytest.mark.promise("1"), pytest.mark.promise("2"), pytest.mark.promise("3")]

DEATHS = st.builds(Trouble, crash_at=st.integers(1, 500))
LOST_REPLIES = st.builds(lambda n: Trouble(fail={(COMMIT, n): "done-lost"}), st.integers(1, 12))
"""A commit that succeeded, and looks as if it had failed."""
CUTS = st.builds(
    lambda n, flavour: Trouble(fail={(DATABASE, n): flavour}),
    st.integers(1, 150),
    st.sampled_from([BEFORE, AFTER]),
)
"""The server ends a connection."""


def tried(share: float, examples: int, steps: int) -> settings:
    """The suite's few examples; with another profile, that share of its number."""
    chosen = settings()
    if settings.get_current_profile_name() == "suite":
        return settings(chosen, derandomize=False, max_examples=examples, stateful_step_count=steps)
    return settings(chosen, max_examples=max(1, int(chosen.max_examples * share)))


class OnSqlite(NightsMachine):
    """In virtual time."""

    troubles = DEATHS | LOST_REPLIES

    @staticmethod
    def begin() -> World:
        stage = Stage(fast_folder(), Clock(STARTS[0]), random.Random(2), seed=7)
        stage.limit(concurrency=2, batch_persons=2, retry_attempts=2)
        return stage, lambda main: in_world(stage, main)

    @staticmethod
    def end(stage: Stage) -> None:
        shutil.rmtree(stage.folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("examples", "steps"), [(3, 15), pytest.param(60, 30, marks=pytest.mark.nightly)]
)
def test_sqlite(examples: int, steps: int) -> None:
    """On SQLite."""
    run_state_machine_as_test(OnSqlite, settings=tried(1, examples=examples, steps=steps))


@pytest.mark.nightly
def test_postgresql(postgres_url: str, migrated_postgres: str, tmp_path: Path) -> None:
    """On PostgreSQL, in real time, fewer; connections end instead of processes."""
    materials()  # made in a loop of its own

    class OnPostgres(NightsMachine):
        troubles = CUTS

        @staticmethod
        def begin() -> World:
            database = copied_database(postgres_url, migrated_postgres)
            stage = PostgresStage(fast_folder(), database.__enter__())
            stage.upstream.truth.clear()
            stage.roster = []

            def play(main: Any) -> Any:
                async def to_its_end() -> Any:
                    result = await main()
                    await stage.free_lease()
                    return result

                with stage.doors():
                    return anyio.run(to_its_end)

            return stage, play

        @staticmethod
        def end(stage: Stage) -> None:
            shutil.rmtree(stage.folder, ignore_errors=True)

    run_state_machine_as_test(OnPostgres, settings=tried(0.01, examples=4, steps=12))
