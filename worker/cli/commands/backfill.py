"""``backfill``: a run over a subset of persons."""

from datetime import timedelta

import click

from worker.cli import options
from worker.errors import UsageError


@click.command("backfill", cls=options.Command)
@options.setting("--roster", "roster.path", help="Read the persons of this file; - is stdin.")
@options.setting(
    "--person",
    "roster.path",
    metavar="-",
    type=click.Choice(["-"]),
    help="Read these persons: - takes identifiers from standard input. Never give an identifier "
    "on the command line, where every process can read it.",
)
@click.option(
    "--stale-for", type=options.duration, help="Areas not confirmed for this long, e.g. 36h."
)
@click.option("--failed", is_flag=True, help="Areas with an open failure.")
@options.area
@options.wait
@options.accept_removals
@click.pass_obj
def command(
    cli: options.Cli,
    *,
    stale_for: timedelta | None,
    failed: bool,
    wait: timedelta,
    accept_removals: bool,
) -> int:
    """Read a subset of persons again, and publish their state. It marks no person as departed.

    `--stale-for` and `--failed` select from the configured roster. On a terminal, `--person -`
    prompts for one identifier and does not show it.

    Example: `pts-worker backfill --failed`
    """
    from worker.cli.run_command import run_and_report
    from worker.cli.run_sync import RunRequest
    from worker.core.model import RunKind
    from worker.store.runs.run_store import BackfillSelection

    # `--set roster.path=…` does not count: it also sets the roster from which --failed selects.
    has_roster = cli.flags.get("roster.path", ("", ""))[1] in {"--roster", "--person"}
    if not (has_roster or failed or stale_for):
        raise UsageError(
            "no persons are selected",
            hint="give --roster FILE, --person -, --failed or --stale-for DURATION",
        )
    app = cli.load("backfill" if has_roster else "sync")
    before = app.runtime.now() - stale_for if stale_for else None
    selection = BackfillSelection(stale_before=before, failed=failed)
    request = RunRequest(
        kind=RunKind.BACKFILL,
        selection=selection if failed or stale_for else None,
        wait_s=wait.total_seconds(),
        accept_removals=accept_removals,
    )
    return run_and_report(cli, app, request)
