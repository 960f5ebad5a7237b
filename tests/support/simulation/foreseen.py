"""A run in good weather, whose end the model foretells: what the guard judges, and how it ends."""

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from structlog.testing import capture_logs

from tests.support.model.guard import Guard
from tests.support.model.values import AREAS, PRIVACY, SAFETY, Ending, expect
from tests.support.model.views import same
from tests.support.simulation.stage import Line, Outcome, Stage
from worker.core.guard_facts import GuardFacts
from worker.core.model import RunKind

SURELY_CONTINUED: Final = timedelta(hours=6)
"""Half of `sync.continue_within`."""
SCOPES: Final = (AREAS, AREAS, AREAS, (SAFETY,), (PRIVACY,))
"""Which areas a night reads."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run, and under which limits."""

    kind: RunKind
    lines: Sequence[Line]
    areas: tuple[str, ...]
    guard: Guard


def drawn(stage: Stage, rng: random.Random) -> Plan:
    """A sync, or a backfill of some of those whom PTS is asked about."""
    good = [one for one in stage.roster if not one.bad and not stage.not_sent([one.off_id])]
    is_backfill = bool(good) and rng.random() < 0.25
    return Plan(
        kind=RunKind.BACKFILL if is_backfill else RunKind.SYNC,
        lines=rng.sample(good, rng.randint(1, len(good))) if is_backfill else stage.roster,
        areas=rng.choice(SCOPES),
        guard=Guard(
            max_removed_share=rng.choice((0.0, 0.1, 0.4)),
            min_completeness=rng.choice((0.0, 0.5, 0.9, 1.0)),
            first_min_completeness=rng.choice((0.0, 0.95)),
        ),
    )


def everything(stage: Stage) -> Plan:
    """A sync that is published, whatever has changed."""
    guard = Guard(max_removed_share=1.0, min_completeness=0.0, first_min_completeness=0.0)
    return Plan(kind=RunKind.SYNC, lines=stage.roster, areas=AREAS, guard=guard)


async def run_as_foreseen(
    stage: Stage, plan: Plan, meanwhile: Callable[[], None] = lambda: None
) -> Outcome:
    """Run it; what is withheld is run once more, and a person accepts what the first counted.

    A run that is continued may have read another world: of its end nothing is foretold.

    Args:
        meanwhile: what happens before a person accepts, which may be more than was counted.
    """
    stage.limit(
        areas=plan.areas,
        max_removed_share=plan.guard.max_removed_share,
        min_completeness=plan.guard.min_completeness,
        first_min_completeness=plan.guard.first_min_completeness,
    )
    has_gaps = any(line.bad for line in plan.lines)
    accepted: Mapping[str, Any] | None = None
    while True:
        facts = _foreseen(stage, plan)
        outcome = await _run(stage, plan, facts, accepts=accepted is not None)
        if outcome.report is not None and outcome.report.is_continued:
            return outcome
        guard = replace(plan.guard, accept_removals=accepted is not None)
        wanted = 5 if guard.withholds(facts, accepted) else 3 if has_gaps else 0
        expect(outcome.code == wanted, f"{outcome.code}, not {wanted}, with {facts}")
        if accepted or wanted != 5:
            return outcome
        accepted = facts
        meanwhile()


async def _run(stage: Stage, plan: Plan, facts: Mapping[str, Any], *, accepts: bool) -> Outcome:
    """One process; what its guard judged is what was foretold, unless it continued a run."""
    continues = _continues(stage, plan)
    with capture_logs() as logs:
        outcome = await stage.run_apart(
            stage.process(), kind=plan.kind, lines=[*plan.lines], accepts=accepts
        )
    if outcome.report is None:
        return outcome
    expect(continues in {None, outcome.report.is_continued}, f"continued, against {continues}")
    if not outcome.report.is_continued:
        (judged,) = (_judged(one) for one in logs if one["event"] == "run.judged")
        same(facts, judged, "what the guard judged")
    return outcome


def _continues(stage: Stage, plan: Plan) -> bool | None:
    """Whether it must be the open run that goes on (docs/architecture.md); None: it may be.

    What a run has last got done is in no view, and its clock may have jumped since it began.
    """
    began = [
        run["started_at"]
        for run in stage.observer.ledger
        if run["status"] in {"running", "interrupted"}
        and run["kind"] == plan.kind == RunKind.SYNC
        and {area for area in AREAS if area in run["areas"]} == {*plan.areas}
    ]
    if not began:
        return False
    return True if stage.clock.now() - max(began) < SURELY_CONTINUED else None


def _judged(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that the guard judged, as the model has them."""
    shown = {name: entry[name] for name in GuardFacts.__struct_fields__}
    shown["areas"] = {
        one["area"]: {name: count for name, count in one.items() if name != "area"}
        for one in entry["areas"]
    }
    return shown


def _foreseen(stage: Stage, plan: Plan) -> Mapping[str, Any]:
    """What the guard judges if everything is read as it is in the world now."""
    observer, now = stage.observer, stage.clock.now()
    model = copy.deepcopy(observer.model)
    model.begin(-1, plan.kind.value, plan.areas)
    run = model.runs[-1]
    listed = [line.off_id for line in plan.lines if not line.bad]
    not_sent = stage.not_sent(listed)
    for off_id in {*listed} - {*not_sent}:
        for area in plan.areas:
            rows = stage.upstream.truth[off_id][area]
            key = observer.person_key(off_id), area
            model.read_complete(run, key, rows, at=now, pages=None)
    bad_lines = len(plan.lines) - len(listed)
    ending = Ending(
        roster={observer.person_key(off_id) for off_id in listed},
        is_full_roster=plan.kind == RunKind.SYNC and not bad_lines,
        roster_errors=bad_lines,
        not_sent=len({*not_sent}),
    )
    return model.outcome(run, ending).facts
