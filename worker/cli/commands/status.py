"""``status``: the last runs, how fresh the published snapshot is, and what is missing from it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.output import instant, notify, plain, print_document, print_table, span
from worker.core.display import counted
from worker.core.times import CLOCK_TOLERANCE
from worker.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from worker.app import App
    from worker.store.database import Database
    from worker.store.status import RunFacts

_RUNS_SHOWN: Final = 5
_TOTALS: Final = {
    "persons": "persons_total",
    "stale": "persons_stale",
    "new": "rows_opened",
    "changed": "rows_changed",
    "closed": "rows_closed",
    "not sent": "persons_not_sent",
}


@click.command("status", cls=options.Command)
@click.option(
    "--max-age", type=options.duration, help="Exit 3 if the last full run is older, e.g. 36h."
)
@click.pass_obj
def command(cli: options.Cli, *, max_age: timedelta | None) -> int:
    """Show recent runs, snapshot age and failures.

    The last full run, which read everyone, says how fresh the snapshot is. The last publication is
    what readers see; it is newer if a backfill came later.

    Example: `pts-worker status --max-age 36h`
    """
    app = cli.load("report")
    status = cli.run(lambda: _read(app, max_age))
    notify(f"STATUS=last full run {_freshness_text(status['freshness'])}")
    cli.emit(status, lambda: _print(status))
    return ExitCode.GAPS if status["freshness"]["is_fresh"] is False else ExitCode.OK


async def _read(app: "App", max_age: timedelta | None) -> dict[str, Any]:
    """The state of the store. Changes nothing.

    Raises:
        ConfigurationError: the database is missing, behind or ahead.
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
            "open_run": await run_to_continue(app, store),
            "runs": await store.read(queries.last_runs, _RUNS_SHOWN),
        }


def _freshness(last: "RunFacts | None", now: datetime, max_age: timedelta | None) -> dict[str, Any]:
    """The last published full run and its age. A snapshot of the future is not fresh."""
    age = now - last.published_at if last and last.published_at else None
    is_fresh = None
    if max_age is not None:
        is_fresh = age is not None and -CLOCK_TOLERANCE <= age <= max_age
    return {
        "published_at": last and last.published_at,
        "run_id": last and last.run_id,
        "age_s": None if age is None else age.total_seconds(),
        "max_age_s": None if max_age is None else max_age.total_seconds(),
        "is_fresh": is_fresh,
    }


async def run_to_continue(app: "App", store: "Database") -> dict[str, Any] | None:
    """The open run that the next ``sync`` continues; None if it begins a new one."""
    from worker.store.runs.ledger import is_continuable, open_runs

    sync, now = app.settings.sync, app.runtime.now()
    try:
        terms = app.terms()
    except ConfigurationError:  # the next sync ends with it, and continues none
        return None
    for row in await store.read(open_runs):
        if is_continuable(row, sync.areas, terms, sync.continue_within, now):
            return {"run_id": row.run_id, "status": row.status, "started_at": row.started_at}
    return None


def _print(status: Mapping[str, Any]) -> None:
    print_document(
        {
            "last full run": _freshness_text(status["freshness"]),
            "last publication": plain(status["last_publication"], datetime),
            "open run, which the next sync continues": status["open_run"],
        }
    )
    for area in status["gaps"]:
        counts = [f"{f.kind} {f.count:,}" for f in status["failures"] if f.area == area.area]
        failures = f" (failures: {', '.join(counts)})" if counts else ""
        print(f"{area.area}: {area.stale:,} of {counted(area.persons, 'person')} stale{failures}")
    _print_runs(status["runs"])


def _print_runs(runs: Sequence["RunFacts"]) -> None:
    print()
    print_table(
        ("run", "kind", "status", "exit", "began UTC", *_TOTALS),
        [
            (
                str(run.run_id),
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
        if run.reason:
            print(f"run {run.run_id}: {run.reason}")


def _freshness_text(freshness: Mapping[str, Any]) -> str:
    age_s, at = freshness["age_s"], instant(freshness["published_at"])
    if age_s is None:
        described = "never: no full run has been published yet"
    elif age_s < -CLOCK_TOLERANCE.total_seconds():
        described = f"{at}, in the future: check the clocks (run {freshness['run_id']})"
    else:
        described = f"{at}, {span(age_s)} ago (run {freshness['run_id']})"
    if freshness["max_age_s"] is None:
        return described
    verdict = "fresh" if freshness["is_fresh"] else "NOT FRESH"
    return f"{described}: {verdict} (--max-age {span(freshness['max_age_s'])})"
