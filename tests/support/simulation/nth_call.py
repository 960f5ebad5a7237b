"""The n-th call fails: at each n, for each kind of call, once or from then on.

A world with one published run changes in every way; the next run meets one fault; the run after it
meets none. Nothing may show in between that was not published, and in the end the store is the
world.

One fault is another process, which takes the lease just before a write transaction begins. Nothing
may be written from then on (promise 4); each commit is watched (``process.py``).
"""

import copy
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from tests.support.model.values import PRIVACY, SAFETY, expect
from tests.support.simulation.loop import Clock, SimLoop, inline_files, run_simulated
from tests.support.simulation.materials import fast_folder, lasting_folder
from tests.support.simulation.process import (
    BEGIN_WRITE,
    CLOCK,
    DATABASE,
    FILE,
    HTTP,
    Process,
    Trouble,
)
from tests.support.simulation.scenario import STARTS
from tests.support.simulation.served import Rows
from tests.support.simulation.stage import Line, Outcome, Stage
from worker.errors import ExitCode, LeaseLostError

CRASH = "crash"
HELD_FROM = 2
"""The first write takes the lease; it can be taken over from the second on."""
LEASE_S = 60
PERSONS_FIRST = 5

TAKE = (
    "UPDATE lease SET fencing_token = fencing_token + 1, holder = 'usurper', host = 'elsewhere', "
    "expires_at = '{}' WHERE holder IS NOT NULL"
)

FLAVOURS: dict[str, tuple[str, ...]] = {
    DATABASE: ("locked", "io", "lost", "done-lost", "done-io"),
    HTTP: ("error", "lost-request", "lost-reply"),
    CLOCK: ("error", "ahead", "behind"),
    FILE: ("error",),
    CRASH: ("crash",),
    BEGIN_WRITE: ("lease lost",),
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
        if self.kind == BEGIN_WRITE:
            return Trouble()
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

    def take_lease(self) -> None:
        """Another process takes it, under a higher token."""
        until = self.clock.now() + timedelta(seconds=LEASE_S)
        self.store.rows(TAKE.format(until.isoformat(timespec="microseconds")))

    def take_lease_at(self, wanted: int, number: int) -> None:
        """The same before the write with the wanted number."""
        if number == wanted:
            self.take_lease()

    def lease_holder(self) -> str | None:
        holder: str | None = self.store.one("SELECT holder FROM lease")
        return holder


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


@cache
def _first_run() -> VirtualStage:
    """Once for all points: a database after its first run, to be copied."""
    first = VirtualStage(lasting_folder())
    outcome = first.play(accepts=True)
    expect(outcome.code == 0, f"the first run ended with {outcome.code}: {outcome.fault}")
    first.close()
    return first


@contextmanager
def changed_world() -> Iterator[VirtualStage]:
    """A world that has changed in every way since its first run."""
    first, folder = _first_run(), fast_folder()
    shutil.copy(first.database, folder / "pts.db")
    stage = VirtualStage(folder, nights=1)
    stage.observer.model = copy.deepcopy(first.observer.model)
    change(stage)
    try:
        yield stage
    finally:
        stage.close()
        shutil.rmtree(folder, ignore_errors=True)


@cache
def undisturbed() -> Process:
    """The process of a run without a fault; commits are some of its calls."""
    with changed_world() as stage:
        outcome = stage.play(accepts=True)
    expect(outcome.code == 0, f"the run without a fault ended with {outcome.code}")
    outcome.process.counts[CRASH] = outcome.process.touches
    return outcome.process


def all_points() -> Iterator[Point]:
    """Every kind of fault at every call of one run."""
    for kind, flavours in FLAVOURS.items():
        first = HELD_FROM if kind == BEGIN_WRITE else 1
        for number, flavour in product(range(first, undisturbed().counts[kind] + 1), flavours):
            yield Point(kind=kind, number=number, flavour=flavour)
            if kind not in (CRASH, BEGIN_WRITE):
                yield Point(kind=kind, number=number, flavour=flavour, persistent=True)


def crashes_of_the_publication() -> Sequence[Point]:
    """At each touch from the BEGIN of the publication to the end of the run."""
    touched = undisturbed().touched
    applies = next(n for n, what in enumerate(touched) if "INTO change_feed" in what)
    begins = max(n for n, what in enumerate(touched[:applies]) if "BEGIN IMMEDIATE" in what)
    numbers = range(begins + 1, len(touched) + 1)
    return [Point(kind=CRASH, number=number, flavour="crash") for number in numbers]


def sample(points: Sequence[Point], count: int) -> Sequence[Point]:
    """So many of them, spread evenly."""
    step = max(1, len(points) // count)
    return points[step // 2 :: step]


def try_point(point: Point) -> Outcome:
    """Let one run meet the fault and another recover; how the first ended."""
    with changed_world() as stage:
        if point.kind == BEGIN_WRITE:
            stage.before_write = partial(stage.take_lease_at, point.number)
        outcome = stage.play(trouble=point.trouble(), accepts=True)
        may_be_bug = point.kind == CLOCK
        assert outcome.code != 70 or may_be_bug, f"{point}: a bug: {outcome.fault!r}"
        if point.kind == BEGIN_WRITE:
            stage.before_write = lambda _: None
            assert_lease_lost(stage, outcome)
        stage.clock.elapsed_s += 300.0
        after = stage.play(accepts=True)
        assert after.code == 0, f"{point}: the run after it ended with {after.code}: {after.fault}"
        stage.observer.check_world(stage.upstream.truth, {line.off_id for line in stage.roster})
    return outcome


def assert_lease_lost(stage: VirtualStage, outcome: Outcome) -> None:
    """75 and why, unless the run had ended already; the other process has the lease."""
    assert stage.lease_holder() == "usurper"
    if outcome.report is None:
        assert isinstance(outcome.fault, LeaseLostError), f"{outcome.fault!r}"
        assert outcome.code == ExitCode.STOPPED
