"""``schedule``: stay up and sync on a cron expression."""

import anyio
import click

from worker.cli import options
from worker.cli.base import Cli, subcommand
from worker.cli.output import print_json
from worker.cli.progress import document, stoppable
from worker.errors import ExitCode
from worker.scheduler import run_on_schedule
from worker.telemetry.prometheus import Board, serve_metrics
from worker.use_cases.observed_run import observed_run, telemetry_options
from worker.use_cases.run_sync import RunRequest

HELP = """Stay up and run `sync` on a cron expression in a named time zone.

Runs never overlap; a start that comes while a run is on is skipped. SIGTERM ends a run that is on
as it ends `sync`: what is complete is kept, and the next run continues.

Example: `pts-worker schedule --cron "30 3 * * *" --timezone Europe/Oslo`
"""


@subcommand("schedule", HELP)
@options.setting("--cron", "schedule.cron", help="Five fields: minute hour day month weekday.")
@options.setting("--timezone", "schedule.timezone", help="IANA zone.")
@click.option("--now", is_flag=True, help="Run once at the start, too.")
def command(cli: Cli, *, now: bool) -> int:
    """See ``HELP``."""
    app = cli.load("sync")
    settings = app.settings.schedule

    async def work(stop: anyio.Event) -> None:
        board, served = Board(), telemetry_options(app)

        async def run_once() -> None:
            report = await observed_run(app, RunRequest(), stop=stop, board=board)
            if cli.as_json:
                print_json(document(report))

        with serve_metrics(board, served):
            await run_on_schedule(
                run_once, cron=settings.cron, timezone=settings.timezone, stop=stop, now=now
            )

    cli.run(lambda: stoppable(work, app.runtime))
    return ExitCode.OK
