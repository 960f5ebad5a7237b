"""``backfill``: a run over some persons."""

from datetime import timedelta

import click

from worker.cli import options
from worker.errors import UsageError


@click.command("backfill", cls=options.Command)
@options.setting("--roster", "roster.path", help="Whom to read: a roster file; - is stdin.")
@options.setting(
    "--person",
    "roster.path",
    metavar="-",
    type=click.Choice(["-"]),
    help="Whom to read: - takes identifiers from standard input. An identifier never stands on the "
    "command line, where every process can read it.",
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
    """Read some persons again, and publish that. It marks nobody as departed.

    `--stale-for` and `--failed` choose from the configured roster. On a terminal `--person -` asks
    for one person, whose identifier is not shown.

    Example: `pts-worker backfill --failed`
    """
    from worker.cli.run_command import run_and_report
    from worker.cli.run_sync import RunRequest
    from worker.core.model import RunKind
    from worker.store.runs.run_store import Choice

    is_given = cli.flags.get("roster.path", ("", ""))[1] in {"--roster", "--person"}
    if not (is_given or failed or stale_for):
        raise UsageError(
            "whom to read is missing",
            hint="give --roster FILE, --person -, --failed or --stale-for DURATION",
        )
    app = cli.load("backfill" if is_given else "sync")
    before = app.runtime.now() - stale_for if stale_for else None
    request = RunRequest(
        kind=RunKind.BACKFILL,
        choice=Choice(stale_before=before, failed=failed) if failed or stale_for else None,
        wait_s=wait.total_seconds(),
        accept_removals=accept_removals,
    )
    return run_and_report(cli, app, request)
