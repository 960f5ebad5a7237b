"""``status``: the last runs, how fresh the published snapshot is, and what is missing from it."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.notify import leave_reason
from worker.cli.output import fitted, instant, print_facts, print_table, span
from worker.core.model import RunKind, RunStatus
from worker.core.plurals import counted
from worker.core.times import CLOCK_TOLERANCE, is_of_the_future
from worker.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from worker.app import App
    from worker.store.database import Database
    from worker.store.status import LeaseState, Publication, RunFacts

_TOTALS: Final = {
    "persons": "persons_total",
    "stale": "persons_stale",
    "new": "rows_opened",
    "changed": "rows_changed",
    "closed": "rows_closed",
}


@click.command("status", cls=options.Command)
@click.option("--max-age", type=options.duration, help="Exit 3 if the snapshot is older, e.g. 36h.")
@click.option("--runs", type=click.IntRange(min=0), default=5, help="How many runs to show.")
@options.database
@click.pass_obj
def command(cli: options.Cli, *, max_age: timedelta | None, runs: int) -> int:
    """Show recent runs, snapshot age, failures and the lease.

    The last full run, which read everyone, says how fresh the snapshot is. The last publication is
    what readers see; it is newer if a backfill came later. With `--max-age` the exit code is 3 if
    the last full run was published longer ago, or never.

    `--json`: now, freshness (published_at, run_id, age_s, max_age_s, is_fresh), last_publication
    (publication_no, run_id, kind, published_at), gaps (area, persons, stale), failures (area, kind,
    count), lease (holder, since, expires_at, is_dead), open_run (run_id, status, started_at,
    persons_read, continued_by_next_sync), runs (latest first).

    Example: `pts-worker status --max-age 36h`
    """
    app = cli.load("report")
    status = cli.run(lambda: _read(app, max_age=max_age, runs=runs))
    leave_reason(f"last full run {_freshness_text(status['freshness'])}")
    cli.emit(status, lambda: _print(status))
    return ExitCode.GAPS if status["freshness"]["is_fresh"] is False else ExitCode.OK


async def _read(app: "App", *, max_age: timedelta | None, runs: int) -> dict[str, Any]:
    """The state of the store. Changes nothing.

    Raises:
        SchemaError: the database is missing, behind or ahead.
    """
    from worker.store import status as queries

    async with app.database() as store:
        now = await store.read(store.now)
        last = await store.read(queries.last_full_publication)
        return {
            "now": now,
            "freshness": _freshness(last, now, max_age),
            "last_publication": await store.read(queries.publication_at),
            "gaps": await store.read(queries.area_staleness),
            "failures": await store.read(queries.failure_counts),
            "lease": await queries.lease_state(store),
            "open_run": await _open_run(app, store),
            "runs": await store.read(queries.last_runs, runs),
        }


def continued_by_next_sync(app: "App", rows: Sequence[Any]) -> Any | None:
    """The open run (of ``ledger.open_runs``) that the next ``sync`` continues."""
    from worker.store.runs.ledger import is_continuable

    sync, now = app.settings.sync, app.runtime.now()
    try:
        terms = app.terms()
    except ConfigurationError:  # the next sync ends with it, and continues none
        return None
    within = sync.continue_within
    return next((row for row in rows if is_continuable(row, sync.areas, terms, within, now)), None)


def _freshness(last: "RunFacts | None", now: datetime, max_age: timedelta | None) -> dict[str, Any]:
    """The last published full run and its age.

    The age is that of the publication; if that lies in the future, since the end of its run: a
    wrong clock of an earlier run may have moved the publication's time forward. A snapshot of the
    future is not fresh.
    """
    published_at = last.published_at if last else None
    age_s = (now - published_at).total_seconds() if published_at else None
    if last and last.finished_at and published_at and is_of_the_future(published_at, now):
        age_s = (now - last.finished_at).total_seconds()
    max_age_s = None if max_age is None else max_age.total_seconds()
    is_fresh = None
    if max_age_s is not None:
        is_fresh = age_s is not None and -CLOCK_TOLERANCE.total_seconds() <= age_s <= max_age_s
    return {
        "published_at": published_at,
        "run_id": last.run_id if last else None,
        "age_s": age_s,
        "max_age_s": max_age_s,
        "is_fresh": is_fresh,
    }


async def _open_run(app: "App", store: "Database") -> dict[str, Any] | None:
    """The run that is neither published nor abandoned: that which the next sync continues first."""
    from worker.store.runs.ledger import open_runs
    from worker.store.status import persons_read

    rows = await store.read(open_runs)
    chosen = continued_by_next_sync(app, rows)
    row = chosen if chosen is not None else next(iter(rows), None)
    if row is None:
        return None
    read = await store.read(persons_read, row.run_id, len(app.settings.sync.areas))
    return {
        "run_id": row.run_id,
        "status": row.status,
        "started_at": row.started_at,
        "persons_read": read,
        "continued_by_next_sync": chosen is not None,
    }


def _print(status: Mapping[str, Any]) -> None:
    run, lease = status["open_run"], status["lease"]
    print_facts(
        {
            "last full run": _freshness_text(status["freshness"]),
            "last publication": _publication_text(status["last_publication"]),
            "lease": _lease_text(lease),
            "open run": run and _open_text(run, lease),
        }
    )
    for area in status["gaps"]:
        counts = [f"{f.kind} {f.count:,}" for f in status["failures"] if f.area == area.area]
        failures = f" (failures: {', '.join(counts)})" if counts else ""
        print(f"{area.area}: {area.stale:,} of {counted(area.persons, 'person')} stale{failures}")
    if status["runs"]:
        _print_runs(status["runs"], status["freshness"]["run_id"] or 0)


def _print_runs(runs: Sequence["RunFacts"], published: int) -> None:
    print()
    print_table(
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
            for run in runs
        ],
    )
    for run in runs:
        if not_sent := run.totals["persons_not_sent"]:
            print(
                f"run {run.run_id}: {counted(not_sent, 'person')} with an H-number not sent to PTS"
            )
        # Once a later full run is published, the verdict on what was withheld is history.
        is_overtaken = run.status == RunStatus.WITHHELD and published > run.run_id
        if run.reason and not is_overtaken:
            print(fitted(f"run {run.run_id}: {run.reason}", sys.__stdout__))


def _freshness_text(freshness: Mapping[str, Any]) -> str:
    age_s, run = freshness["age_s"], f"run {freshness['run_id']}"
    at = instant(freshness["published_at"])
    if age_s is None:
        described = "never: no full run has been published yet"
    elif age_s < -CLOCK_TOLERANCE.total_seconds():
        described = (
            f"{at} ({run}), {span(-age_s)} in the future: check the clocks of this machine and of "
            "the database"
        )
    else:
        described = f"{at}, {span(age_s)} ago ({run})"
    if freshness["max_age_s"] is None:
        return described
    is_old = age_s is None or age_s > 0
    verdict = "fresh" if freshness["is_fresh"] else "TOO OLD" if is_old else "NOT FRESH"
    return f"{described}: {verdict} (--max-age {span(freshness['max_age_s'])})"


def _publication_text(last: "Publication | None") -> str:
    if last is None:
        return "none"
    kind = "" if last.kind == RunKind.SYNC else f", a {last.kind}"
    return f"{instant(last.published_at)}, number {last.publication_no} (run {last.run_id}{kind})"


def _lease_text(lease: "LeaseState | None") -> str:
    if lease is None:
        return "free"
    if lease.is_dead:
        return f"left behind by {lease.holder}; the next run takes it over"
    return f"held by {lease.holder} since {instant(lease.since)}"


def _open_text(run: Mapping[str, Any], lease: "LeaseState | None") -> str:
    is_continued, began = run["continued_by_next_sync"], run["started_at"]
    what_next = "the next sync continues it" if is_continued else "no sync will continue it"
    if run["status"] == RunStatus.RUNNING and lease is not None and not lease.is_dead:
        is_first = began >= lease.since  # the holder began it, and holds the lease still
        what_next = "it is running" if is_first else f"it is running, or {what_next}"
    read = counted(run["persons_read"], "person")
    return f"run {run['run_id']}, {run['status']}, began {instant(began)}, {read} read: {what_next}"
