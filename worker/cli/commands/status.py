"""``status``: the last runs, the age of the published snapshot, and its gaps."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.output import instant, notify, print_document, print_table, span
from worker.core.display import counted
from worker.core.times import CLOCK_TOLERANCE
from worker.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from worker.app import App
    from worker.store.database import Database
    from worker.store.status import DepartedPerson, RunFacts, Withheld

_TOTALS: Final = {
    "persons": "persons_total",
    "stale": "persons_stale",
    "missing": "persons_missing",
    "new": "rows_opened",
    "closed": "rows_closed",
}
_WITHHELD: Final = (
    "run {run_id}: its reads were discarded. Another `{kind}` reads its persons again "
    "({requests:,} requests in {time}). Before you decide, read operations.md, Withheld"
)
_NO_REFERENCE: Final = "(no reference)"
_DEPARTED: Final = (
    "{persons} departed. Their rows stay until you run `pts-worker erase` for each person"
)


@click.command("status", cls=options.Command)
@click.option(
    "--max-age",
    type=options.duration,
    help="Exit 3 if the last publication of a full run is older than this, e.g. 36h.",
)
@click.option("--runs", type=click.IntRange(min=1), default=5, help="How many runs to show.")
@click.option(
    "--departed",
    is_flag=True,
    help="List departed persons, who left the roster. Their rows stay until `erase`.",
)
@click.pass_obj
def command(cli: options.Cli, *, max_age: timedelta | None, runs: int, departed: bool) -> int:
    """Show recent runs, snapshot age and failures.

    The age of the snapshot is counted from the last full publication, by a run over all persons.
    Readers see the last publication, which is newer if a backfill ran later.

    If the last run was withheld, the output ends with examples of the restrictions that it would
    remove: the roster's reference and the restriction's id. `--max-age` omits them, because a
    monitor writes its output to logs and mail.

    Example: `pts-worker status --max-age 36h`
    """
    app = cli.load("report")
    if departed:
        persons = cli.run(lambda: _read_departed(app))
        cli.emit({"departed": persons}, lambda: _print_departed(persons))
        return ExitCode.OK
    status = cli.run(lambda: _read(app, max_age, runs))
    notify(f"STATUS={_unit_status(status['freshness'])}")
    cli.emit(status, lambda: _print(status))
    return ExitCode.GAPS if status["freshness"]["is_fresh"] is False else ExitCode.OK


async def _read_departed(app: "App") -> Sequence["DepartedPerson"]:
    from worker.store.status import departed_persons

    async with app.database() as store:
        return await store.read(departed_persons)


def _print_departed(persons: Sequence["DepartedPerson"]) -> None:
    print_table(
        ("person", "cohort", "departed"),
        [
            (row.local_ref or row.person_key or _NO_REFERENCE, row.cohort, row.departed_at)
            for row in persons
        ],
    )
    print(_DEPARTED.format(persons=counted(len(persons), "person")))


async def _read(app: "App", max_age: timedelta | None, runs: int) -> dict[str, Any]:
    """Read the state of the store. Changes nothing.

    Raises:
        ConfigurationError: the database is missing, or has another schema.
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
            # A monitor writes this to logs and mail, which must not contain references of persons.
            "withheld": await store.read(queries.withheld_run) if max_age is None else None,
            "runs": await store.read(queries.last_runs, runs),
        }


def _freshness(last: "RunFacts | None", now: datetime, max_age: timedelta | None) -> dict[str, Any]:
    """Return the last full publication, and its age."""
    age = now - last.published_at if last and last.published_at else None
    is_fresh = None
    if max_age is not None:
        # A publication in the future means a wrong clock, so its age proves nothing.
        is_fresh = age is not None and -CLOCK_TOLERANCE <= age <= max_age
    return {
        "published_at": last and last.published_at,
        "run_id": last and last.run_id,
        "age_s": None if age is None else age.total_seconds(),
        "max_age_s": None if max_age is None else max_age.total_seconds(),
        "is_fresh": is_fresh,
    }


async def run_to_continue(app: "App", store: "Database") -> dict[str, Any] | None:
    """Return the open run that the next ``sync`` continues. None if it starts a new one."""
    from worker.store.runs.ledger import is_continuable, open_runs

    sync, now = app.settings.sync, app.runtime.now()
    try:
        terms = app.terms()
    except ConfigurationError:  # the next sync fails with it, and continues no run
        return None
    for row in await store.read(open_runs):
        if is_continuable(row, sync.areas, terms, sync.continue_within, now):
            return {"run_id": row.run_id, "status": row.status, "started_at": row.started_at}
    return None


def _print(status: Mapping[str, Any]) -> None:
    last, open_run = status["last_publication"], status["open_run"]
    print_document(
        {
            "last full publication": _freshness_text(status["freshness"]),
            "last publication": last
            and f"no {last.publication_no} (run {last.run_id}, {last.kind}), "
            f"{instant(last.published_at)}",
            "open run": open_run
            and "run {run_id}, status {status}; the next sync continues it".format_map(open_run),
        }
    )
    for area in status["gaps"]:
        counts = [f"{f.kind} {f.count:,}" for f in status["failures"] if f.area == area.area]
        failures = f" (failures: {', '.join(counts)})" if counts else ""
        print(f"{area.area}: {area.stale:,} of {counted(area.persons, 'person')} stale{failures}")
    _print_runs(status["runs"])
    if withheld := status["withheld"]:
        _print_withheld(withheld)


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
        gap=1,
    )
    for run in runs:
        if run.reason:
            print(f"run {run.run_id}: {run.reason}")
        if not_sent := run.totals["persons_not_sent"]:
            print(f"run {run.run_id}: {counted(not_sent, 'person')} not sent (H-numbers)")
        # Later runs have read the persons of an earlier withheld run again.
        if run is runs[0] and run.exit_code == ExitCode.WITHHELD and run.finished_at:
            worked = span((run.finished_at - run.started_at).total_seconds())
            requests = run.totals["requests"]
            print(
                _WITHHELD.format(run_id=run.run_id, kind=run.kind, requests=requests, time=worked)
            )


def _print_withheld(withheld: "Withheld") -> None:
    """Print the removals of a withheld run, with examples to look up."""
    for area in withheld.areas:
        lost = f", {counted(area.lost, 'restriction')} would lose a value" if area.lost else ""
        print(
            f"\n{area.area}: {area.removed:,} of {counted(area.open_before, 'restriction')} would "
            f"be removed{lost}, for example"
        )
        rows = [(row.person or _NO_REFERENCE, row.restriction_id) for row in area.examples]
        print_table(("person", "restriction"), rows, indent="  ")
    if withheld.missing:
        names = ", ".join(row.person or _NO_REFERENCE for row in withheld.missing_examples)
        of_all = counted(withheld.persons_before, "person")
        print(f"\n{withheld.missing:,} of {of_all} are missing from the roster: {names}, …")


def _freshness_text(freshness: Mapping[str, Any]) -> str:
    described = _age_text(freshness)
    if freshness["max_age_s"] is None:
        return described
    verdict = "fresh" if freshness["is_fresh"] else "NOT FRESH"
    return f"{described}: {verdict} (--max-age {span(freshness['max_age_s'])})"


def _age_text(freshness: Mapping[str, Any]) -> str:
    age_s, at = freshness["age_s"], instant(freshness["published_at"])
    if age_s is None:
        return "never: no full run has been published yet"
    if age_s < -CLOCK_TOLERANCE.total_seconds():
        return f"{at}, in the future: check the clocks (run {freshness['run_id']})"
    return f"{at}, {span(age_s)} ago (run {freshness['run_id']})"


def _unit_status(freshness: Mapping[str, Any]) -> str:
    """Return the status of the systemd unit, which an alert repeats."""
    if freshness["age_s"] is None:
        return "there is no copy yet: no full run has been published"
    if freshness["is_fresh"] is False:
        limit = span(freshness["max_age_s"])
        return f"the copy is older than {limit}; last full publication {_age_text(freshness)}"
    return f"last full publication {_age_text(freshness)}"
