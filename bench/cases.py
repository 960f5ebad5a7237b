"""The cases: each runs a program or two, checks that they did the work, and gives samples."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.bare import LOOPS
from bench.figures import Sample, sample
from bench.ground import Ground
from bench.measure import FailedError, Measured, measure

PARTS: Final = ("large", "small", "latency", "nothing", "help")
HELP_RUNS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        persons: of every part but the small one, which has a tenth of them.
        databases: ``sqlite``, ``postgresql`` or both.
        parts: which of ``PARTS``.
    """

    persons: int
    databases: tuple[str, ...]
    parts: tuple[str, ...] = PARTS

    @property
    def few(self) -> int:
        """Persons of the small part: start-up counts."""
        return self.persons // 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One entry of a round: what it is, and how it gives samples by their key."""

    name: str
    run: Callable[[], Mapping[str, Sample]]


def cases(ground: Ground, plan: Plan) -> Iterator[Case]:
    """The cases of one round, in their order."""
    sizes = {"large": plan.persons, "small": plan.few}
    for part, persons in sizes.items():
        if part in plan.parts:
            yield from (_bare(ground, persons, loop=loop) for loop in LOOPS)
            yield from (_worker(ground, kind, persons) for kind in plan.databases)
        if part == "large" and "nothing" in plan.parts:
            yield _nothing(ground, persons)
    if "latency" in plan.parts:
        yield _bare(ground, plan.persons, standin="late")
        yield from (_late(ground, kind, plan.persons) for kind in plan.databases)
        if "nothing" in plan.parts:
            yield _nothing(ground, plan.persons, standin="late")
    if "help" in plan.parts:
        yield Case(name="--help", run=lambda: {"help": _help(ground)})


def warm_up(ground: Ground, plan: Plan) -> None:
    """Run everything once with few persons, so that byte code and files are in memory."""
    small = Plan(persons=50, databases=plan.databases, parts=("large", "nothing", "help"))
    for case in cases(ground, small):
        case.run()


def _measured(ground: Ground, command: Sequence[str], database_url: str) -> Measured:
    return measure(
        command,
        folder=ground.folder,
        env=ground.env(database_url),
        cores=ground.client_cores,
    )


def _run(ground: Ground, command: Sequence[str], url: str, persons: int) -> Sample:
    """One run of the worker, checked."""
    measured = _measured(ground, command, url)
    totals = json.loads(measured.out)["run"]["totals"]
    if totals["persons_complete"] != persons or totals["retries"]:
        raise FailedError(f"not the run that it should be: {totals}")
    return sample(persons, measured)


def _bare(ground: Ground, persons: int, standin: str = "fast", loop: str = "asyncio") -> Case:
    def run() -> dict[str, Sample]:
        command = ground.bare(persons, standin=standin, loop=loop)
        measured = _measured(ground, command, "")
        if not int(measured.out):
            raise FailedError("the bare loop read nothing")
        return {f"{standin} {persons} bare {loop}": sample(persons, measured)}

    return Case(name=f"bare loop on {loop}, {persons:,} persons{_at(standin)}", run=run)


def _worker(ground: Ground, kind: str, persons: int) -> Case:
    def run() -> dict[str, Sample]:
        command = ground.sync(persons)
        with ground.database(kind) as url:
            first = _run(ground, command, url, persons)
            again = _run(ground, command, url, persons)
        return {f"fast {persons} {kind} first": first, f"fast {persons} {kind} unchanged": again}

    return Case(name=f"worker, {kind}, {persons:,} persons, first and unchanged", run=run)


def _nothing(ground: Ground, persons: int, standin: str = "fast") -> Case:
    return _once(
        ground,
        ground.sync(persons, standin=standin, module="bench.nothing"),
        persons,
        key=f"{standin} {persons} nothing",
        name=f"worker without a store, {persons:,} persons{_at(standin)}",
    )


def _late(ground: Ground, kind: str, persons: int) -> Case:
    return _once(
        ground,
        ground.sync(persons, standin="late"),
        persons,
        kind=kind,
        key=f"late {persons} {kind} first",
        name=f"worker, {kind}, {persons:,} persons{_at('late')}",
    )


def _once(
    ground: Ground,
    command: Sequence[str],
    persons: int,
    *,
    key: str,
    name: str,
    kind: str = "sqlite",
) -> Case:
    def run() -> dict[str, Sample]:
        with ground.database(kind) as url:
            return {key: _run(ground, command, url, persons)}

    return Case(name=name, run=run)


def _help(ground: Ground) -> Sample:
    command = [sys.executable, "-m", "worker", "--help"]
    taken = [_measured(ground, command, "") for _ in range(HELP_RUNS)]
    middle = sorted(taken, key=lambda measured: measured.wall_s)[HELP_RUNS // 2]
    return sample(1, middle)


def _at(standin: str) -> str:
    return ", with latency" if standin == "late" else ""
