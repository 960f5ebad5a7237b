"""``sync``: one full snapshot run."""

from datetime import timedelta

import click

from worker.cli import options


@click.command("sync", cls=options.Command)
@options.setting(
    "--roster",
    "roster.path",
    help="File: CSV with a column off_id, or one identifier per line; - is standard input.",
)
@options.area
@options.wait
@options.accept_removals
@click.option(
    "--accept-service",
    is_flag=True,
    help="Accept a new address of the same PTS, and record it.",
)
@click.pass_obj
def command(
    cli: options.Cli, *, wait: timedelta, accept_removals: bool, accept_service: bool
) -> int:
    """One full run over the roster: read all persons, then publish.

    A run that was stopped or killed is continued. Readers see the complete new snapshot or the old
    one. If a read fails, the last known state of that person and area remains, marked stale.

    Example: `pts-worker sync --config /etc/pts-worker/worker.toml --wait 30m`
    """
    from worker.cli.run_command import run_and_report
    from worker.cli.run_sync import RunRequest

    request = RunRequest(
        wait_s=wait.total_seconds(), accept_removals=accept_removals, accept_service=accept_service
    )
    return run_and_report(cli, cli.load("sync"), request)
