"""``status``: the last runs, how fresh the published snapshot is, and what is missing from it."""

import sys
from datetime import timedelta
from typing import Final

from worker.cli.base import Cli
from worker.cli.output import fitted
from worker.cli.showing import columns, instant, span
from worker.core.clocks import CLOCK_TOLERANCE
from worker.core.model import RunKind, RunStatus
from worker.core.plurals import counted
from worker.errors import ExitCode
from worker.store.queries.status import LeaseState, Publication, RunFacts
from worker.use_cases.status import Freshness, OpenRun, Status, read_status

_TOTALS: Final = {
    "persons": "persons_total",
    "stale": "persons_stale",
    "new": "rows_opened",
    "changed": "rows_changed",
    "closed": "rows_closed",
}


def run(cli: Cli, *, max_age: timedelta | None, runs: int) -> int:
    """Run ``pts-worker status``."""
    app = cli.load("report")
    status = cli.run(lambda: read_status(app, max_age=max_age, runs=runs))
    cli.emit(status, lambda: _print(status))
    return ExitCode.GAPS if status.freshness.is_fresh is False else ExitCode.OK


def _print(status: Status) -> None:
    print(f"last full run     {_freshness(status.freshness)}")
    print(f"last publication  {_publication(status.last_publication)}")
    print(f"lease             {_lease(status.lease)}")
    if status.open_run:
        print(f"open run          {_open(status.open_run, status.lease)}")
    for area in status.gaps:
        counts = [f"{f.kind} {f.count:,}" for f in status.failures if f.area == area.area]
        failures = f" (failures: {', '.join(counts)})" if counts else ""
        print(f"{area.area}: {area.stale:,} of {counted(area.persons, 'person')} stale{failures}")
    if not status.runs:
        return
    print()
    columns(
        ("run", "kind", "status", "exit", "began UTC", *_TOTALS),
        [
            (
                f"{run.run_id}",
                run.kind,
                run.status,
                "-" if run.exit_code is None else str(run.exit_code),
                f"{run.started_at:%m-%d %H:%M}",
                *(run.totals[name] for name in _TOTALS.values()),
            )
            for run in status.runs
        ],
    )
    for run in status.runs:
        if not_sent := run.totals["persons_not_sent"]:
            print(
                f"run {run.run_id}: {counted(not_sent, 'person')} with an H-number not sent to PTS"
            )
        if run.reason and not _is_overtaken(run, status.freshness):
            print(fitted(f"run {run.run_id}: {run.reason}", sys.__stdout__))


def _freshness(freshness: Freshness) -> str:
    if freshness.age_s is None:
        described = "never: no full run has been published yet"
    elif freshness.age_s < -CLOCK_TOLERANCE.total_seconds():
        described = (
            f"{instant(freshness.published_at)} (run {freshness.run_id}), "
            f"{span(-freshness.age_s)} in the future: check the clocks of this machine and of the "
            "database"
        )
    else:
        described = (
            f"{instant(freshness.published_at)}, {span(freshness.age_s)} ago "
            f"(run {freshness.run_id})"
        )
    if freshness.max_age_s is None:
        return described
    is_old = freshness.age_s is None or freshness.age_s > 0
    verdict = "fresh" if freshness.is_fresh else "TOO OLD" if is_old else "NOT FRESH"
    return f"{described}: {verdict} (--max-age {span(freshness.max_age_s)})"


def _publication(last: Publication | None) -> str:
    if last is None:
        return "none"
    kind = "" if last.kind == RunKind.SYNC else f", a {last.kind}"
    return f"{instant(last.published_at)}, number {last.publication_no} (run {last.run_id}{kind})"


def _lease(lease: LeaseState | None) -> str:
    if lease is None:
        return "free"
    if lease.is_dead:
        return f"left behind by {lease.holder}; the next run takes it over"
    return f"held by {lease.holder} since {instant(lease.since)}"


def _is_overtaken(run: RunFacts, freshness: Freshness) -> bool:
    """Whether a full run was published after a run that was withheld: its verdict is history."""
    published = freshness.run_id or 0
    return run.status == RunStatus.WITHHELD and published > run.run_id


def _open(run: OpenRun, lease: LeaseState | None) -> str:
    what_next = (
        "the next sync continues it" if run.continued_by_next_sync else "no sync will continue it"
    )
    if run.status == RunStatus.RUNNING and lease is not None and not lease.is_dead:
        is_first = run.started_at >= lease.since  # the holder began it, and holds the lease still
        what_next = "it is running" if is_first else f"it is running, or {what_next}"
    return (
        f"run {run.run_id}, {run.status}, began {instant(run.started_at)}, "
        f"{counted(run.persons_read, 'person')} read: {what_next}"
    )
