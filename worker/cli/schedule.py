"""``schedule``: stay up and sync on a cron expression."""

import anyio

from worker.cli.base import Cli
from worker.cli.output import print_json
from worker.cli.progress import beside_runs, document, stoppable, watch_runs
from worker.cli.readiness import Readiness, keep_checking, pages_of
from worker.cli.run_watch import find_total
from worker.cli.showing import instant
from worker.core.run import RunReport
from worker.scheduler import ScheduleState, run_on_schedule
from worker.store.runs.ledger import open_runs
from worker.telemetry.http_server import serve_pages
from worker.telemetry.prometheus import Board
from worker.use_cases.observed_run import observed_run, telemetry_options
from worker.use_cases.run_sync import RunRequest
from worker.use_cases.status import continued_by_next_sync


def run(cli: Cli, *, now: bool) -> None:
    """Run ``pts-worker schedule``."""
    cli.keeps_code = True
    app = cli.load("sync")
    settings = app.settings.schedule
    state, watch = ScheduleState(), watch_runs(app)

    async def work(stop: anyio.Event) -> None:
        board, readiness, served = Board(), Readiness(), telemetry_options(app)

        async def run_once() -> RunReport:
            await find_total(app, watch)
            watch.begin()
            try:
                report = await observed_run(
                    app, RunRequest(), stop=stop, changed=watch.changed, board=board
                )
            finally:
                watch.end()
                readiness.is_outdated.set()
            if cli.given.as_json:
                print_json(document(report))
            return report

        async def continue_open_run() -> RunReport | None:
            async with app.database(stop=stop) as store:
                is_left_open = continued_by_next_sync(app, await store.read(open_runs)) is not None
            return await run_once() if is_left_open else None

        async with serve_pages(pages_of(board, readiness), served.http_listen) as url:
            await run_on_schedule(
                run_once,
                cron=settings.cron,
                timezone=settings.timezone,
                stop=stop,
                runtime=app.runtime,
                retry_wait_s=settings.retry_wait.total_seconds(),
                first=run_once if now else continue_open_run,
                state=state,
                beside=() if url is None else (lambda: keep_checking(app, readiness, board),),
            )

    beside = beside_runs(app, watch, is_logged=True, idle=lambda: _idle(state))
    cli.run(lambda: stoppable(work, app.runtime, beside=beside))


def _idle(state: ScheduleState) -> str:
    """What the schedule does while no run makes progress."""
    if state.retry_at is not None:
        return f"waiting for the retry at {instant(state.retry_at)}"
    if state.running_since is not None or state.next_at is None:
        return "starting"
    return f"waiting for the start at {instant(state.next_at)}"
