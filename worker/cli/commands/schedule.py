"""``schedule``: keep running, and start ``sync`` on a cron expression."""

from typing import TYPE_CHECKING

import click

from worker.cli import options
from worker.cli.output import print_json
from worker.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    import anyio
    from prometheus_client.samples import Sample

    from worker.core.run import RunReport
    from worker.store.database import Database


@click.command("schedule", cls=options.Command)
@options.setting("--cron", "schedule.cron", help="Five fields: minute hour day month weekday.")
@options.setting("--timezone", "schedule.timezone", help="IANA zone.")
@click.option("--now", is_flag=True, help="Also run once at the start.")
@click.pass_obj
def command(cli: options.Cli, *, now: bool) -> None:
    """Keep running, and start `sync` on a cron expression in a named time zone.

    Runs never overlap: starts missed during a run are combined into one after it. SIGTERM stops a
    run as it stops `sync`. The schedule then exits with 0, or with 75 if it was still starting.

    A run that ends with 4, 69 or 75 is retried every 15 minutes until the next start. Any other end
    is logged, and the schedule resumes. A run that was left open is continued at once.

    Example: `pts-worker schedule --cron "30 3 * * *" --timezone Europe/Oslo`
    """
    from worker.cli.commands.status import run_to_continue
    from worker.cli.run_command import RunWatch, observed_run, stoppable
    from worker.cli.run_sync import RunRequest
    from worker.scheduler import Schedule
    from worker.telemetry import Gauges

    cli.keeps_code = True  # a closed standard output must not end a schedule with an error
    app = cli.load("sync")
    if app.settings.roster.path == "-":
        problem = "roster.path: each run needs a roster, and standard input can be read only once"
        raise ConfigurationError(problem, hint="name a file, or set roster.url and roster.query")
    settings, watch = app.settings.schedule, RunWatch(app.runtime.monotonic)

    async def work(stop: "anyio.Event") -> None:
        gauges = Gauges()

        async def run_once() -> "RunReport":
            report = await observed_run(app, RunRequest(), stop=stop, watch=watch, gauges=gauges)
            if cli.as_json:
                print_json({"run": report})
            return report

        async def begin() -> "RunReport | None":
            async with app.database(stop=stop) as store:
                gauges.update(await _known_metrics(store))  # no gap after a restart
                is_due = now or await run_to_continue(app, store)
            return await run_once() if is_due else None

        cron, zone = settings.cron, settings.timezone
        schedule = Schedule(run_once, cron=cron, timezone=zone, runtime=app.runtime)
        with gauges.served(app.settings.telemetry.http_listen):
            await schedule.run(stop, begin)

    cli.run(lambda: stoppable(work, lambda: watch.report(app.runtime)))


async def _known_metrics(store: "Database") -> "list[Sample]":
    """Return metrics of the published state and of the last full publication.

    Raises:
        WorkerError: the database cannot be used.
    """
    from worker.core.model import RunKind
    from worker.store import status
    from worker.telemetry import samples_of_end, samples_of_state, samples_of_totals

    samples = [*samples_of_state(await status.read_published_state(store.read))]
    if published := await store.read(status.last_full_publication):
        samples += samples_of_totals(RunKind.SYNC, published.totals)
    for run in await store.read(status.last_runs, 50):  # enough to skip backfills
        if run.kind == RunKind.SYNC and run.finished_at is not None:
            code = ExitCode(run.exit_code or 0)
            return [*samples, *samples_of_end(code, at=run.finished_at, kind=RunKind.SYNC)]
    return samples
