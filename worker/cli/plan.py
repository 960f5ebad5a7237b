"""``plan``: what a run would do. Writes nothing."""

import sys
from typing import Final

from worker.cli.base import Cli
from worker.cli.output import fitted
from worker.cli.showing import columns, instant, quiet, roster_of, span
from worker.core.plurals import counted
from worker.use_cases.plan import Plan, PlannedDeadline, PlannedRequests, plan_sync

_FASTER: Final = {
    "httpx": "; try api.engine = fast, or run in shards",
    "fast": "; run in shards",
}


def run(cli: Cli) -> None:
    """Run ``pts-worker plan``."""
    app = cli.load("plan")
    roster = roster_of(app)
    plan = cli.run(lambda: plan_sync(app, roster))
    cli.emit(plan, lambda: _print(plan))


def _print(plan: Plan) -> None:
    roster, guard = plan.roster, plan.guard
    rows = [("persons on the roster", f"{roster.entries:,} (duplicates counted)")]
    if roster.faults:
        rows.append(("unreadable lines", f"{roster.faults:,}; each is a gap, and nobody departs"))
        rows.append(("the first of them", roster.first_fault))
    if roster.checksum_warnings:
        rows.append(("unusual control digits", f"{roster.checksum_warnings:,}; read all the same"))
    if roster.h_numbers:
        what = "not sent to PTS (roster.send_h_numbers)" if roster.not_sent else "sent"
        rows.append(("H-numbers", f"{roster.h_numbers:,}; {what}"))
    rows.append(("areas", ", ".join(plan.areas)))
    if plan.continues:
        begun = f"run {plan.continues.run_id}, begun {instant(plan.continues.began_at)}"
        rows.append(
            ("continues", f"{begun}, {counted(plan.continues.persons_read, 'person')} read already")
        )
    rows += [
        ("requests", _requests(plan.requests)),
        ("time", f"{span(plan.duration_s.expected)} at {plan.rate_per_s:g} requests a second"),
        ("deadline", _deadline(plan.deadline)),
        ("open restrictions", f"{guard.open_restrictions:,} of {counted(guard.holders, 'person')}"),
        ("the guard lets pass", f"{guard.may_close:,} closed, {guard.may_depart:,} departed"),
    ]
    if guard.departing_at_least:
        rows.append(
            ("no longer on the roster", f"at least {counted(guard.departing_at_least, 'person')}")
        )
    if plan.quiet_until:
        rows.append(("quiet", quiet(plan.quiet_until)))
    columns((), rows)
    if plan.rate_per_s > plan.engine.sustained_per_s:
        _warn(
            f"sync.requests_per_second is {plan.rate_per_s:g}; {plan.engine.name} sustains some "
            f"{plan.engine.sustained_per_s:,} requests a second on one core"
            f"{_FASTER[plan.engine.name]}"
        )
    for reason in guard.would_withhold:
        _warn(f"would be withheld: {reason}")


def _warn(text: str) -> None:
    print(fitted(f"! {text}", sys.__stdout__, indent=2))


def _deadline(deadline: PlannedDeadline) -> str:
    """Whether the run fits its deadline, and what it needs if it does not."""
    if deadline.deadline_s is None:
        return "none is set"
    if deadline.fits:
        return f"the run fits {span(deadline.deadline_s)} (sync.deadline)"
    return (
        f"the run needs {deadline.starts:,} starts of {span(deadline.deadline_s)} (sync.deadline); "
        f"each must come within {span(deadline.continue_within_s)} (sync.continue_within) of the "
        "end of the one before"
    )


def _requests(requests: PlannedRequests) -> str:
    if requests.per_person_area is None or requests.expected == requests.at_least:
        return f"{requests.at_least:,}, more with pages and retries"
    return (
        f"about {requests.expected:,} ({requests.per_person_area:.2f} for each person's area in "
        f"the last run), at least {requests.at_least:,}"
    )
