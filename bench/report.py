"""The table of the benchmark, from the samples of all rounds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bench.cases import Plan
from bench.figures import Figure, Goal, Heading, Sample, ratios
from bench.ground import CONCURRENCY, LATENCY_MS, RATE_MAX

Samples = Mapping[str, Sequence[Sample]]

PERSONS: Final = 50_000
"""Persons of the large part that the goals are for."""

LARGE: Final = Goal(must=0.50, aim=0.70)
SMALL: Final = Goal(must=0.40, aim=0.55)
SHARE_OF_BOUND: Final = Goal(must=0.70, aim=0.90)
STORE_SHARE: Final = Goal(must=0.85, aim=0.95)
MEMORY_MB: Final = Goal(must=120, aim=120, is_floor=False)
MEMORY_GROWTH: Final = Goal(must=1.25, aim=1.15, is_floor=False)

BOUND: Final = CONCURRENCY / (LATENCY_MS / 1000) / 2
"""Persons a second that no client can pass at that latency: two requests a person."""

_NAMES: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_PHASES: Final = ("first", "unchanged")


def lines(samples: Samples, plan: Plan) -> Iterator[Figure | Heading]:
    """Every line for which there are samples; with too few persons no goal is judged."""
    is_judged = plan.persons >= PERSONS
    for line in _lines(samples, plan):
        if isinstance(line, Figure) and not is_judged:
            yield replace(line, goal=None)
        else:
            yield line
    if not is_judged:
        yield Heading(
            f"The goals are for {PERSONS:,} persons; with {plan.persons:,} none is judged."
        )
    ours = [one for key, found in samples.items() if "bare" not in key for one in found]
    if any(2 * one.persons_per_s > 0.9 * RATE_MAX for one in ours):
        yield Heading(f"The worker's own ceiling of {RATE_MAX:,} requests a second was near.")


def _lines(samples: Samples, plan: Plan) -> Iterator[Figure | Heading]:
    for part, persons, goal in (("large", plan.persons, LARGE), ("small", plan.few, SMALL)):
        if part in plan.parts:
            yield Heading(
                f"{persons:,} persons, no latency; start-up counted, DPoP and change detection on"
            )
            yield from _against_bare(samples, plan, persons, goal)
    if "latency" in plan.parts:
        yield from _latency(samples, plan)
    if {"large", "nothing"} <= set(plan.parts):
        yield Heading(f"{plan.persons:,} persons, the store replaced by nothing")
        yield from _of_nothing(samples, plan, "fast", _PHASES)
    if {"latency", "nothing"} <= set(plan.parts):
        late = f"{plan.persons:,} persons, {LATENCY_MS} ms latency"
        yield Heading(f"{late}, the store replaced by nothing")
        yield from _of_nothing(samples, plan, "late", _PHASES[:1])
    if "large" in plan.parts:
        yield from _processor(samples, plan)
    if {"large", "small"} <= set(plan.parts):
        yield from _memory(samples, plan)
    if "help" in plan.parts:
        yield Heading("Start")
        yield Figure(
            name="pts-worker --help",
            values=tuple(one.wall_s for one in samples["help"]),
            unit="s",
            digits=2,
        )


def _against_bare(
    samples: Samples, plan: Plan, persons: int, goal: Goal
) -> Iterator[Figure | Heading]:
    bare, hard = (samples[f"fast {persons} bare {loop}"] for loop in ("asyncio", "uvloop"))
    yield _speed("bare aiohttp loop", bare)
    yield _speed("the same on uvloop", hard)
    for kind in plan.databases:
        for phase in _PHASES:
            ours = samples[f"fast {persons} {kind} {phase}"]
            yield _speed(f"worker, {_NAMES[kind]}, {phase}", ours)
            yield Figure(
                name="  of the bare loop", values=ratios(ours, bare), unit="", digits=2, goal=goal
            )
            yield Figure(name="  of that on uvloop", values=ratios(ours, hard), unit="", digits=2)


def _latency(samples: Samples, plan: Plan) -> Iterator[Figure | Heading]:
    yield Heading(
        f"{plan.persons:,} persons, {LATENCY_MS} ms latency, {CONCURRENCY} in flight; "
        f"bound {BOUND:,.0f} persons/s"
    )
    names = {"bare asyncio": "bare aiohttp loop"}
    names |= {f"{kind} first": f"worker, {_NAMES[kind]}, first" for kind in plan.databases}
    for key, name in names.items():
        found = samples[f"late {plan.persons} {key}"]
        yield _speed(name, found)
        yield Figure(
            name="  of the bound",
            values=tuple(one.persons_per_s / BOUND for one in found),
            unit="",
            digits=2,
            goal=None if key == "bare asyncio" else SHARE_OF_BOUND,
        )


def _of_nothing(
    samples: Samples, plan: Plan, standin: str, phases: Sequence[str]
) -> Iterator[Figure]:
    """What a first run writes is no part of the goal where answers come at once."""
    nothing = samples[f"{standin} {plan.persons} nothing"]
    yield _speed("worker without a store", nothing)
    for kind in plan.databases:
        for phase in phases:
            ours = samples[f"{standin} {plan.persons} {kind} {phase}"]
            is_judged = phase == "unchanged" or standin == "late"
            yield Figure(
                name=f"{_NAMES[kind]}, {phase}: of that",
                values=ratios(ours, nothing),
                unit="",
                digits=2,
                goal=STORE_SHARE if is_judged else None,
            )


def _processor(samples: Samples, plan: Plan) -> Iterator[Figure | Heading]:
    yield Heading("Processor time for 1,000 persons, of the process (not of a database server)")
    keys = {
        "bare asyncio": "bare aiohttp loop",
        "bare uvloop": "the same on uvloop",
        "nothing": "worker without a store",
    }
    keys |= {
        f"{kind} {phase}": f"worker, {_NAMES[kind]}, {phase}"
        for kind in plan.databases
        for phase in _PHASES
    }
    for key, name in keys.items():
        found = samples.get(f"fast {plan.persons} {key}")
        if found:
            values = tuple(one.cpu_s_per_1000 for one in found)
            yield Figure(name=name, values=values, unit="s", digits=3)


def _memory(samples: Samples, plan: Plan) -> Iterator[Figure | Heading]:
    yield Heading("The most memory of one process, over both runs")
    for kind in plan.databases:
        peaks = {persons: _peaks(samples, kind, persons) for persons in (plan.few, plan.persons)}
        for persons, values in peaks.items():
            yield Figure(
                name=f"{_NAMES[kind]}, {persons:,} persons",
                values=values,
                unit="MB",
                digits=1,
                goal=MEMORY_MB,
            )
        grown = zip(peaks[plan.persons], peaks[plan.few], strict=True)
        yield Figure(
            name="  ten times the persons",
            values=tuple(large / small for large, small in grown),
            unit="",
            digits=2,
            goal=MEMORY_GROWTH,
        )


def _peaks(samples: Samples, kind: str, persons: int) -> tuple[float, ...]:
    runs = [samples[f"fast {persons} {kind} {phase}"] for phase in _PHASES]
    return tuple(max(one.peak_mb for one in phases) for phases in zip(*runs, strict=True))


def _speed(name: str, found: Sequence[Sample]) -> Figure:
    return Figure(name=name, values=tuple(one.persons_per_s for one in found), unit="persons/s")
