"""The n-th call fails: at each n, for each kind of call, once or from then on.

A world with one published run changes in every way; the next run meets one fault; the run after it
meets none. Nothing may show in between that was not published, and in the end the store is the
world.
"""

import copy
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

from tests.support.model.state import Model
from tests.support.model.values import PRIVACY, SAFETY, expect
from tests.support.simulation.loop import Clock, SimLoop, inline_files, run_simulated
from tests.support.simulation.materials import fast_folder, lasting_folder
from tests.support.simulation.process import CLOCK, DATABASE, FILE, HTTP, Process, Trouble
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


class VirtualStage(Stage):
    """A world of five persons in virtual time, which one process after the other meets."""

    def __init__(self, folder: Path, *, nights: int = 0) -> None:
        clock = Clock(STARTS[0])
        clock.elapsed_s = nights * 86_400.0
        super().__init__(folder, clock, random.Random(1 + nights), seed=7)
        fill(self)

    def play(self, **options: Any) -> Outcome:
        """A run in a loop of its own, to its end."""
        outcome: Outcome = in_world(self, lambda: apart(self, **options))
        return outcome

    def bury(self, process: Process) -> None:
        """The process is gone, and some time has passed."""
        self.clock.elapsed_s += 300.0


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
    """A new process in a task of its own."""
    return await stage.run_apart(stage.process(options.pop("trouble", None)), **options)


@dataclass(kw_only=True)
class Prepared:
    """A database after its first run, and what the run after it does undisturbed.

    Attributes:
        copied: gives a stage on a copy of the database.
        model: as the first run left it.
    """

    copied: Callable[[], AbstractContextManager[Any]]
    model: Model

    @contextmanager
    def world(self) -> Iterator[Any]:
        """A world that has changed in every way since its first run."""
        with self.copied() as stage:
            stage.observer.model = copy.deepcopy(self.model)
            change(stage)
            try:
                yield stage
            finally:
                stage.close()

    @cached_property
    def undisturbed(self) -> Process:
        """The process that made it; commits are some of its calls."""
        with self.world() as stage:
            outcome = stage.play(accepts=True)
        expect(outcome.code == 0, f"the run without a fault ended with {outcome.code}")
        process: Process = outcome.process
        process.counts[CRASH] = process.touches
        return process


def prepare(first: Any, copied: Callable[[], AbstractContextManager[Any]]) -> Prepared:
    """Let the first run have been."""
    outcome = first.play(accepts=True)
    expect(outcome.code == 0, f"the first run ended with {outcome.code}: {outcome.fault}")
    first.close()
    return Prepared(copied=copied, model=first.observer.model)


@cache
def on_sqlite() -> Prepared:
    """Once for all points."""
    first = VirtualStage(lasting_folder())

    @contextmanager
    def copied() -> Iterator[VirtualStage]:
        folder = fast_folder()
        shutil.copy(first.database, folder / "pts.db")
        try:
            yield VirtualStage(folder, nights=1)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return prepare(first, copied)


def all_points() -> Iterator[Point]:
    """Every kind of fault at every call of one run on SQLite."""
    counts = on_sqlite().undisturbed.counts
    for kind, flavours in FLAVOURS.items():
        for number, flavour in product(range(1, counts[kind] + 1), flavours):
            yield Point(kind=kind, number=number, flavour=flavour)
            if kind != CRASH:
                yield Point(kind=kind, number=number, flavour=flavour, persistent=True)


def sample(points: Sequence[Point], count: int) -> Sequence[Point]:
    """So many of them, spread evenly."""
    step = max(1, len(points) // count)
    return points[step // 2 :: step]


def try_point(point: Point, prepared: Prepared | None = None) -> Outcome:
    """Let one run meet the fault and another recover; how the first ended."""
    with (prepared or on_sqlite()).world() as stage:
        outcome: Outcome = stage.play(trouble=point.trouble(), accepts=True)
        may_be_bug = point.kind == CLOCK
        assert outcome.code != 70 or may_be_bug, f"{point}: a bug: {outcome.fault!r}"
        stage.bury(outcome.process)
        after = stage.play(accepts=True)
        assert after.code == 0, f"{point}: the run after it ended with {after.code}: {after.fault}"
        stage.observer.check_world(stage.upstream.truth, {line.off_id for line in stage.roster})
    return outcome
