"""Another holder takes the lease just before the n-th write transaction of a simulated process."""

import random
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from tests.support.simulation.loop import Clock
from tests.support.simulation.materials import fast_folder
from tests.support.simulation.nth_call import fill, in_world
from tests.support.simulation.scenario import STARTS
from tests.support.simulation.stage import Outcome, Stage

TAKE = (
    "UPDATE lease SET fencing_token = fencing_token + 1, holder = 'usurper', host = 'elsewhere', "
    "expires_at = '2999-01-01T00:00:00.000000+00:00' WHERE holder IS NOT NULL"
)
Act = Callable[[Stage], Awaitable[Any]]


class UnseenStage(Stage):
    """A simulated world in which the tables are compared, and not the views."""

    def look(self) -> None:
        """The model has no part in it."""

    def _check_report(self, outcome: Outcome) -> None:
        """Nor has the ledger: see ``Trial``."""


@dataclass(kw_only=True)
class Trial:
    """One run, or whatever else is disturbed.

    Attributes:
        ended: how it ended, or what it raised.
        writes: how many write transactions it began.
        then: every row at the takeover, those of the lease as the usurper left them.
        now: every row at the end.
    """

    ended: Any = None
    writes: int = 0
    then: dict[str, Any] = field(default_factory=dict)
    now: dict[str, Any] = field(default_factory=dict)

    def assert_nothing_written(self) -> None:
        """Neither to any table nor to the lease."""
        assert any("usurper" in row for row in self.then["lease"]), "no lease was held"
        changed = [name for name, rows in self.then.items() if rows != self.now[name]]
        assert not changed, f"written after the takeover: {changed}"

    def status_then(self, run_id: int) -> str:
        """How that run stood in the ledger."""
        (status,) = (row[0] for row in self.then["run status"] if row[1] == run_id)
        return str(status)


def everything(path: Path) -> dict[str, Any]:
    """Every row of every table, and the status of each run."""
    with closing(sqlite3.connect(path, timeout=0)) as reader:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        found = {name: f"SELECT * FROM {name}" for (name,) in reader.execute(names).fetchall()}
        found["run status"] = "SELECT status, run_id FROM run"
        return {name: sorted(reader.execute(sql), key=repr) for name, sql in found.items()}


def try_it(before: Act, act: Act, *, taken_at: int = 0) -> Trial:
    """What is done in a world where other runs have been.

    Args:
        before: the runs before.
        act: what is disturbed; it raises, or gives how it ended.
        taken_at: the number, from 1, of its write transaction at which the lease is lost.
    """
    trial, folder = Trial(), fast_folder()
    stage = UnseenStage(folder, Clock(STARTS[0]), random.Random(2), seed=7)
    fill(stage)

    def take(number: int) -> None:
        trial.writes = number
        if number == taken_at:
            with closing(sqlite3.connect(stage.database, isolation_level=None)) as usurper:
                usurper.execute(TAKE)
            trial.then = everything(stage.database)

    async def main() -> None:
        await before(stage)
        await anyio.sleep(86_400.0)
        stage.before_write = take
        try:
            trial.ended = await act(stage)
        except Exception as fault:  # noqa: BLE001 - judged by the caller
            trial.ended = fault

    try:
        in_world(stage, main)
        trial.now = everything(stage.database)
    finally:
        stage.close()
        shutil.rmtree(folder, ignore_errors=True)
    return trial
