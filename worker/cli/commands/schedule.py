"""``schedule``: stay up and sync on a cron expression."""

from typing import TYPE_CHECKING, Final

import click

from worker.cli import options
from worker.cli.output import instant, print_json

if TYPE_CHECKING:
    import anyio
    from prometheus_client.samples import Sample

    from worker.app import App
    from worker.core.run import RunReport
    from worker.store.database import Database
    from worker.telemetry import Board

_RUNS_MAX: Final = 50
"""So many runs are looked at: the last publication may be some nights ago."""


@click.command("schedule", cls=options.Command)
@options.setting("--cron", "schedule.cron", help="Five fields: minute hour day month weekday.")
@options.setting("--timezone", "schedule.timezone", help="IANA zone.")
@click.option("--now", is_flag=True, help="Also run once at the start.")
@click.pass_obj
def command(cli: options.Cli, *, now: bool) -> None:
    """Stay up and run `sync` on a cron expression in a named time zone.

    Runs never overlap; of the starts that come during a run, one is made up for after it. SIGTERM
    ends a run as it ends `sync`: what is complete is kept, and the next run continues. The schedule
    then ends with 0, or with 75 while it is still starting.

    A run that ends with 4, 69 or 75 is retried after 5, 10, 20 and 40 minutes and then every hour,
    until the next start. Any other end is logged, and the schedule goes on. A run that was left
    open is continued at once.

    Example: `pts-worker schedule --cron "30 3 * * *" --timezone Europe/Oslo`
    """
    from worker.cli.observed_run import observed_run
    from worker.cli.run_command import document
    from worker.cli.run_sync import RunRequest
    from worker.cli.run_watch import find_total, report_runs, watch_runs
    from worker.cli.stopping import stoppable
    from worker.scheduler import Schedule
    from worker.telemetry import Board

    cli.keeps_code = True
    app = cli.load("sync")
    settings, watch = app.settings.schedule, watch_runs(app)
    schedule: Schedule | None = None

    async def work(stop: "anyio.Event") -> None:
        nonlocal schedule
        board = Board()

        async def run_once() -> "RunReport":
            watch.begin_run(stop)
            try:
                await find_total(app, watch)
                report = await observed_run(
                    app, RunRequest(), stop=stop, changed=watch.changed, board=board
                )
            finally:
                watch.end()
            if cli.as_json:
                print_json(document(report))
            return report

        async def begin() -> "RunReport | None":
            return await run_once() if now or await _is_left_open(app, board, stop) else None

        schedule = Schedule(
            run_once,
            cron=settings.cron,
            timezone=settings.timezone,
            runtime=app.runtime,
        )
        with board.served(app.settings.telemetry.http_listen):
            await schedule.run(stop, begin)

    def idle() -> str:
        """What it does while no run is on."""
        if schedule is None or not schedule.is_waiting:
            return "starting"
        return f"waiting for the start at {instant(schedule.next_at)}"

    async def tell(stop: "anyio.Event") -> None:
        await report_runs(watch, app.runtime, stop, idle=idle)

    cli.run(lambda: stoppable(work, beside=[tell]))


async def _is_left_open(app: "App", board: "Board", stop: "anyio.Event") -> bool:
    """Whether a run is to be continued. In the metrics a restart leaves no gap."""
    from worker.cli.commands.status import continued_by_next_sync
    from worker.store.runs.ledger import open_runs

    async with app.database(stop=stop) as store:
        board.post(await _known_metrics(store))
        return continued_by_next_sync(app, await store.read(open_runs)) is not None


async def _known_metrics(store: "Database") -> "list[Sample]":
    """The published state; how the last run of each kind ended, and what the last published.

    Raises:
        WorkerError: the database cannot be used.
    """
    from worker.core.model import RunKind, RunStatus
    from worker.errors import ExitCode
    from worker.store.status import last_runs, read_standing
    from worker.telemetry import samples_of_end, samples_of_standing, samples_of_totals

    samples = list(samples_of_standing(await read_standing(store.read)))
    runs = await store.read(last_runs, _RUNS_MAX)
    for kind in RunKind:
        ended = [run for run in runs if run.kind == kind and run.finished_at is not None]
        for run in ended[:1]:
            assert run.finished_at is not None  # noqa: S101 - see above
            code = ExitCode(run.exit_code or 0)
            samples += samples_of_end(code, at=run.finished_at, kind=kind)
        published = [run for run in ended if run.status == RunStatus.PUBLISHED]
        for run in published[:1]:
            samples += samples_of_totals(kind, run.totals)
    return samples
