"""``schedule``: stay up and sync on a cron expression."""

import anyio

from worker.cli.base import Cli
from worker.cli.output import print_json
from worker.cli.progress import beside_runs, document, stoppable, watch_runs
from worker.cli.run_watch import find_total
from worker.cli.showing import instant
from worker.core.run import RunReport
from worker.scheduler import Schedule
from worker.store.runs.ledger import open_runs
from worker.telemetry.metrics import Board
from worker.telemetry.server import serve_metrics
from worker.use_cases.known_metrics import known_metrics
from worker.use_cases.observed_run import observed_run
from worker.use_cases.run_sync import RunRequest
from worker.use_cases.status import continued_by_next_sync


def run(cli: Cli, *, now: bool) -> None:
    """Run ``pts-worker schedule``."""
    cli.keeps_code = True
    app = cli.load("sync")
    settings, watch = app.settings.schedule, watch_runs(app)
    schedule: Schedule | None = None

    async def work(stop: anyio.Event) -> None:
        nonlocal schedule
        board = Board()

        async def run_once() -> RunReport:
            watch.begin()
            try:
                await find_total(app, watch)
                report = await observed_run(
                    app, RunRequest(), stop=stop, changed=watch.changed, board=board
                )
            finally:
                watch.end()
            if cli.given.as_json:
                print_json(document(report))
            return report

        async def begin() -> RunReport | None:
            """Continue an open run. In the metrics a restart leaves no gap."""
            if now:
                return await run_once()
            async with app.database(stop=stop) as store:
                board.post(await known_metrics(store))
                is_left_open = continued_by_next_sync(app, await store.read(open_runs)) is not None
            return await run_once() if is_left_open else None

        schedule = Schedule(
            run_once,
            cron=settings.cron,
            timezone=settings.timezone,
            runtime=app.runtime,
            retry_wait_s=settings.retry_wait.total_seconds(),
        )
        with serve_metrics(board, app.settings.telemetry.http_listen):
            await schedule.run(stop, begin)

    def idle() -> str:
        """What it does while no run is on."""
        if schedule is None or not schedule.is_waiting:
            return "starting"
        return f"waiting for the start at {instant(schedule.next_at)}"

    beside = beside_runs(app, watch, is_logged=True, idle=idle)
    cli.run(lambda: stoppable(work, app.runtime, beside=beside))
