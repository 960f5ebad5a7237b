"""``backfill``: a run over some persons."""

from datetime import timedelta

from worker.cli.base import Cli
from worker.cli.progress import run_and_report
from worker.core.model import RunKind
from worker.errors import UsageError
from worker.store.runs.run_store import Choice
from worker.use_cases.run_sync import RunRequest


def run(
    cli: Cli,
    *,
    person: str | None,
    stale_for: timedelta | None,
    failed: bool,
    wait: timedelta,
    accept_removals: bool,
) -> int:
    """Run ``pts-worker backfill``."""
    if person is not None:
        _take_persons(cli, person)
    is_given = cli.given.flag_names.get("roster.path") in {"--roster", "--person"}
    if not (is_given or failed or stale_for):
        raise UsageError(
            "whom to read is missing",
            hint="give --roster FILE, --person -, --failed or --stale-for DURATION",
        )
    app = cli.load("backfill" if is_given else "sync")
    choice = None
    if failed or stale_for:
        before = app.runtime.now() - stale_for if stale_for else None
        choice = Choice(stale_before=before, failed=failed)
    request = RunRequest(
        kind=RunKind.BACKFILL,
        choice=choice,
        wait_s=wait.total_seconds(),
        accept_removals=accept_removals,
    )
    return run_and_report(cli, app, request)


def _take_persons(cli: Cli, person: str) -> None:
    if person != "-":
        raise UsageError(
            "--person takes - and reads identifiers from standard input",
            hint="an identifier on the command line can be read by every process of the machine",
        )
    if cli.given.flag_names.get("roster.path") == "--roster":
        raise UsageError("--person and --roster are two ways to say whom: give one")
    cli.given.set("roster.path", "-", flag="--person")
