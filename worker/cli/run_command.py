"""``sync`` and ``backfill``: executes a run, shows its progress, and reports how it ended."""

import sys
from collections.abc import Mapping
from typing import Any, Final

import anyio
from msgspec.structs import replace

from worker.app import App
from worker.cli.notify import leave_reason
from worker.cli.observed_run import observed_run
from worker.cli.options import Cli
from worker.cli.output import fitted, instant
from worker.cli.rosters import roster_of
from worker.cli.run_sync import RunRequest
from worker.cli.run_watch import find_total, is_seen, keep_log_short, report_runs, watch_runs
from worker.cli.stopping import stoppable
from worker.core.model import RunKind
from worker.core.run import RunReport
from worker.errors import LeaseHeldError, StoppedError

_PUBLICATION_S_MAX: Final = 600.0
"""A run that was stopped at its deadline may still write what was read."""


def run_and_report(cli: Cli, app: App, request: RunRequest) -> int:
    """Execute a run, report how it ended and return its exit code."""
    cli.keeps_code = True
    # Before the lease: a forgotten prompt stops no night.
    request = replace(request, roster=roster_of(app))
    is_shown = is_seen(cli)
    watch = watch_runs(app, wait_s=request.wait_s, is_shown=is_shown)
    deadline = app.settings.sync.deadline
    deadline_s = None if deadline is None else deadline.total_seconds() + _PUBLICATION_S_MAX

    async def work(stop: anyio.Event) -> RunReport:
        watch.begin_run(stop)
        try:
            return await observed_run(app, request, stop=stop, changed=watch.changed)
        except LeaseHeldError as error:
            error.hint += "; `--wait 30m` waits for it"
            raise

    async def find(_stop: anyio.Event) -> None:
        if request.kind == RunKind.SYNC:
            await find_total(app, watch)

    async def tell(stop: anyio.Event) -> None:
        await report_runs(watch, app.runtime, stop, is_logged=not is_shown)

    if is_shown:
        keep_log_short(app)
    with watch:
        report: RunReport | None = cli.run(
            lambda: stoppable(work, deadline_s=deadline_s, beside=[find, tell])
        )
    if report is None:  # cancelled by a second signal
        raise StoppedError(
            "stopped at once; what was written is kept", hint="the next `pts-worker sync` continues"
        )
    print_report(cli, report)
    return int(report.exit_code)


def print_report(cli: Cli, report: RunReport) -> None:
    """The run's end, as a document or in words."""
    leave_reason("; ".join(report.reasons))
    cli.emit(document(report), lambda: _print(report))


def document(report: RunReport) -> dict[str, Any]:
    """A run's end as JSON: ``{"run": {…}}``, stable within a major version."""
    return {
        "run": {
            "run_id": report.run_id,
            "kind": report.kind.value,
            "status": report.status.value,
            "exit_code": int(report.exit_code),
            "continued": report.is_continued,
            "started_at": report.started_at,
            "finished_at": report.finished_at,
            "published_at": report.published_at,
            "totals": dict(report.totals),
            "failures": dict(report.failures),
            "reasons": list(report.reasons),
        }
    }


def _print(report: RunReport) -> None:
    """What a person wants to know of a night, and everything that they should look at."""
    code = report.exit_code
    name = code.name.lower().replace("_", " ")
    print(
        f"run {report.run_id} ({report.kind}): {report.status}, "
        f"exit {int(code)} ({name}), {report.worked_s:,.1f} s"
        + (f" (continued; began {instant(report.started_at)})" if report.is_continued else "")
    )
    if report.totals:
        _print_totals(report.totals)
    for reason in report.reasons:
        print(fitted(f"  ! {reason}", sys.__stdout__))


def _print_totals(totals: Mapping[str, int]) -> None:
    persons, restrictions = totals["persons_total"], totals["rows_read"]
    print(
        f"  persons       {persons:>9,}  complete {totals['persons_complete']:,}, "
        f"stale {totals['persons_stale']:,}, departed {totals['persons_departed']:,}, "
        f"failures {totals['areas_failed']:,}"
    )
    if totals["persons_not_sent"]:
        print(f"  not sent      {totals['persons_not_sent']:>9,}  (H-numbers)")
    print(
        f"  restrictions  {restrictions:>9,}  new {totals['rows_opened']:,}, "
        f"changed {totals['rows_changed']:,}, closed {totals['rows_closed']:,}, "
        f"unchanged {totals['rows_unchanged']:,}"
    )
    print(f"  requests      {totals['requests']:>9,}  retries {totals['retries']:,}")
