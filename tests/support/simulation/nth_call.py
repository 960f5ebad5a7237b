"""The n-th call fails: at each n, for each kind of call, once or from then on.

A world with one published run changes in every way; the next run meets one fault; the run after it
meets none. Nothing may show in between that was not published, and in the end the store is the
world.
"""

import copy
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import anyio

from tests.support.model.state import Model
from tests.support.model.values import PRIVACY, SAFETY, expect
from tests.support.simulation.loop import Clock, SimLoop, inline_files, run_simulated
from tests.support.simulation.materials import fast_folder, lasting_folder
from tests.support.simulation.process import CLOCK, DATABASE, FILE, HTTP, Trouble
from tests.support.simulation.scenario import STARTS
from tests.support.simulation.served import Rows
from tests.support.simulation.stage import Line, Outcome, Stage

CRASH = "crash"
PERSONS_FIRST = 5

FLAVOURS: dict[str, tuple[str, ...]] = {
    DATABASE: ("locked", "io", "lost", "done-lost", "done-io"),
    HTTP: ("error", "lost-request", "lost-reply"),
    CLOCK: ("error", "ahead", "behind"),
    FILE: ("error",),
    CRASH: ("crash",),
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One fault of one run."""

    kind: str
    number: int
    flavour: str
    persistent: bool = False

    def __str__(self) -> str:
        often = "from then on" if self.persistent else "once"
        return f"{self.kind} call {self.number}: {self.flavour}, {often}"

    def trouble(self) -> Trouble:
        """The fault, as a process meets it."""
        if self.kind == CRASH:
            return Trouble(crash_at=self.number)
        return Trouble(fail={(self.kind, self.number): self.flavour}, persistent=self.persistent)


def truth_before(stage: Stage) -> tuple[dict[str, dict[str, Rows]], list[Line]]:
    """The world of the first run, and its roster."""
    ids = [stage.upstream.off_id(index) for index in range(PERSONS_FIRST + 1)]
    truth: dict[str, dict[str, Rows]] = {off_id: {SAFETY: {}, PRIVACY: {}} for off_id in ids}
    truth[ids[0]] = {SAFETY: {"a1": 1, "a2": 1}, PRIVACY: {"a3": 1}}
    truth[ids[1]] = {SAFETY: {"b1": 1}, PRIVACY: {}}
    truth[ids[2]] = {SAFETY: {"c1": 1, "c2": 1, "c3": 1}, PRIVACY: {"c4": 1}}
    truth[ids[3]] = {SAFETY: {"d1": 1}, PRIVACY: {"d2": 1}}
    return truth, [Line(off_id=off_id, ref=f"L{n}") for n, off_id in enumerate(ids[:5])]


def change(stage: Stage) -> None:
    """Add, change, remove and renumber; a person joins, one leaves, one line stands twice."""
    truth = stage.upstream.truth
    first, second, third, fourth, fifth, sixth = truth
    truth[first][SAFETY] = {"a1": 2, "a2": 1, "a4": 1}
    truth[second][SAFETY] = {}
    truth[third][SAFETY] = {"c1": 1, "c2": 1}
    truth[fifth], truth[fourth] = truth[fourth], {SAFETY: {}, PRIVACY: {}}
    truth[sixth][PRIVACY] = {"f1": 1}
    kept = [line for line in stage.roster if line.off_id != second]
    stage.roster = [*kept, Line(off_id=sixth, ref="L9"), kept[0]]


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A world after its first run."""

    database: Path
    model: Model


def small_stage(folder: Path, clock: Clock, rng: random.Random) -> Stage:
    """A world of five persons that no run has met."""
    stage = Stage(folder, clock, rng, seed=7)
    fill(stage)
    return stage


def fill(stage: Stage) -> None:
    """Let there be five persons."""
    truth, stage.roster = truth_before(stage)
    stage.upstream.truth.update(truth)
    stage.look_share = 0.3
    stage.limit(concurrency=2, batch_persons=2, requests_per_second=20.0, retry_attempts=3)


def in_world(stage: Stage, main: Any) -> Any:
    """Run ``main`` in that world's loop and behind its doors, to its end."""

    async def begin(loop: SimLoop) -> Any:
        stage.loop = loop
        return await main()

    with stage.doors(), inline_files(stage.reading):
        return run_simulated(begin, stage.clock, stage.rng)


async def apart(stage: Stage, **options: Any) -> Outcome:
    """A process in a task of its own."""
    found: list[Outcome] = []

    async def task() -> None:
        found.append(await stage.run(stage.process(options.pop("trouble", None)), **options))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task)
    return found[0]


@cache
def begun() -> Begun:
    """The first run, once for all points."""
    folder = lasting_folder()
    stage = small_stage(folder, Clock(STARTS[0]), random.Random(1))
    outcome = in_world(stage, lambda: apart(stage))
    expect(outcome.code == 0, f"the first run ended with {outcome.code}")
    stage.close()
    return Begun(database=stage.database, model=stage.observer.model)


def calls() -> dict[str, int]:
    """How often one undisturbed second run makes each kind of call; commits are some of them."""
    stage, _ = _try(None)
    process = stage.processes[0]
    return {**process.counts, CRASH: process.touches}


def all_points() -> Iterator[Point]:
    """Every kind of fault at every call of one run."""
    counts = calls()
    for kind, flavours in FLAVOURS.items():
        for number, flavour in product(range(1, counts[kind] + 1), flavours):
            yield Point(kind=kind, number=number, flavour=flavour)
            if kind != CRASH:
                yield Point(kind=kind, number=number, flavour=flavour, persistent=True)


def sample(points: Sequence[Point], count: int) -> Sequence[Point]:
    """So many of them, spread evenly."""
    step = max(1, len(points) // count)
    return points[step // 2 :: step]


def try_point(point: Point) -> str:
    """Let one run meet the fault and another recover; how the first ended."""
    stage, outcome = _try(point)
    assert len(stage.processes) == 2
    return "crashed" if outcome.crashed else str(outcome.code)


def _try(point: Point | None) -> tuple[Stage, Outcome]:
    folder = fast_folder()
    try:
        shutil.copy(begun().database, folder / "pts.db")
        clock = Clock(STARTS[0])
        clock.elapsed_s = 86_400.0
        stage = small_stage(folder, clock, random.Random(2))
        stage.observer.model = copy.deepcopy(begun().model)
        change(stage)

        async def main() -> Outcome:
            outcome = await apart(stage, trouble=point.trouble() if point else None, accepts=True)
            may_be_bug = point is not None and point.kind == CLOCK
            expect(outcome.code != 70 or may_be_bug, f"{point}: a bug: {outcome.fault!r}")
            expect(point is not None or outcome.code == 0, "the run without a fault failed")
            if point is not None:
                await _recover(stage, point)
            return outcome

        outcome = in_world(stage, main)
        stage.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return stage, outcome


async def _recover(stage: Stage, point: Point) -> None:
    stage.mark_dead(stage.processes[0])
    await anyio.sleep(300.0)
    after = await apart(stage, accepts=True)
    expect(after.code == 0, f"{point}: the run after it ended with {after.code}: {after.fault}")
    roster = {line.off_id for line in stage.roster}
    stage.observer.check_world(stage.upstream.truth, roster)
