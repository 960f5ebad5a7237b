"""The cases: each runs a program or two, checks that they did the work, and gives samples."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.bare import LOOPS
from bench.figures import Sample, sample
from bench.ground import Ground, fetch
from bench.measure import FailedError, Measured, measure

PARTS: Final = ("large", "small", "latency", "nothing", "shards", "help")
HELP_RUNS: Final = 5
SHARDS: Final = 2
SHARED_WITH: Final = ("free", "late")
"""The stand-ins of two shards. The first leaves them all that two cores have, of which it and the
database take their part; with the second they wait, as every night does."""


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
    if "shards" in plan.parts and "postgresql" in plan.databases:
        for standin in SHARED_WITH:
            yield from _shards(ground, plan.persons, standin)
    if "help" in plan.parts:
        yield Case(name="--help", run=lambda: {"help": _help(ground)})


def warm_up(ground: Ground, plan: Plan) -> None:
    """Run everything once with few persons, so that byte code and files are in memory."""
    small = Plan(persons=50, databases=plan.databases, parts=("large", "nothing", "help"))
    for case in cases(ground, small):
        case.run()


def knows_shards(ground: Ground) -> bool:
    """Whether the program has ``sync --shard``."""
    command = [sys.executable, "-m", "worker", "sync", "--help"]
    env = ground.env("") | {"COLUMNS": "200"}
    described = subprocess.run(command, cwd=ground.folder, env=env, capture_output=True, check=True)
    return b"--shard" in described.stdout


def _measured(
    ground: Ground, commands: Sequence[Sequence[str]], database_url: str, *, pinned: bool = True
) -> Measured:
    return measure(
        commands,
        folder=ground.folder,
        env=ground.env(database_url),
        cores=ground.client_cores if pinned else frozenset(),
    )


def _run(ground: Ground, command: Sequence[str], url: str, persons: int, **more: bool) -> Sample:
    """One run of the worker, checked."""
    measured = _measured(ground, [command], url, **more)
    totals = _totals(measured)
    if totals["persons_complete"] != persons or totals["retries"]:
        raise FailedError(f"not the run that it should be: {totals}")
    return sample(persons, measured)


def _totals(measured: Measured) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(measured.processes[0].out)["run"]["totals"]
    return found


def _bare(ground: Ground, persons: int, standin: str = "fast", loop: str = "asyncio") -> Case:
    def run() -> dict[str, Sample]:
        command = ground.bare(persons, standin=standin, loop=loop)
        measured = _measured(ground, [command], "")
        if not int(measured.processes[0].out):
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


def _shards(ground: Ground, persons: int, standin: str) -> Iterator[Case]:
    """One process and two, both free to run on any core, as is the database."""
    command = ground.sync(persons, standin=standin)

    def one() -> dict[str, Sample]:
        with ground.database("postgresql") as url:
            return {f"{standin} one process": _run(ground, command, url, persons, pinned=False)}

    def two() -> dict[str, Sample]:
        commands = [
            [*command, "--shard", f"{number}/{SHARDS}", "--run-key", "bench"]
            for number in range(SHARDS)
        ]
        with ground.database("postgresql") as url:
            measured = _measured(ground, commands, url, pinned=False)
            read = fetch(url, "SELECT persons_complete FROM report_run WHERE status = 'published'")
            if read != persons:
                raise FailedError(f"the shards published {read} persons of {persons}")
        return {f"{standin} two shards": sample(persons, measured)}

    described = f"postgresql, {persons:,} persons{_at(standin)}"
    yield Case(name=f"one process, {described}", run=one)
    if knows_shards(ground):
        yield Case(name=f"two shards, {described}", run=two)


def _help(ground: Ground) -> Sample:
    command = [sys.executable, "-m", "worker", "--help"]
    taken = [_measured(ground, [command], "") for _ in range(HELP_RUNS)]
    middle = sorted(taken, key=lambda measured: measured.wall_s)[HELP_RUNS // 2]
    return sample(1, middle)


def _at(standin: str) -> str:
    return ", with latency" if standin == "late" else ""
