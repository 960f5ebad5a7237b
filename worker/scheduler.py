"""``schedule``: asks for a run on a cron expression; our own task group carries it out.

APScheduler 3 cancels running coroutine jobs when it shuts down, so its job only posts a request on
a one-slot stream. A request that finds the slot taken is dropped: runs never overlap and never pile
up.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from worker.errors import WorkerError

log = structlog.get_logger(__name__)

MISFIRE_GRACE_S: Final = 3600
"""A start that was missed by up to this long (a sleeping machine) is made good once."""


async def run_on_schedule(
    run_once: Callable[[], Awaitable[Any]], *, cron: str, timezone: str, stop: anyio.Event
) -> None:
    """Run on the expression until ``stop`` is set; a run that is on then ends by the same event.

    Args:
        run_once: carries out one run; errors with a name are logged and the schedule goes on.
        cron: five fields, e.g. ``30 3 * * *``.
        timezone: the IANA zone in which it is meant.
        stop: set it to end.
    """
    requests, due = anyio.create_memory_object_stream[None](1)
    scheduler = AsyncIOScheduler(timezone=timezone)

    def ask() -> None:
        try:
            requests.send_nowait(None)
        except anyio.WouldBlock:
            log.warning("schedule.skipped", reason="the run before is still on")

    job = scheduler.add_job(
        ask,
        CronTrigger.from_crontab(cron, timezone=timezone),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=MISFIRE_GRACE_S,
    )
    scheduler.start()
    log.info("schedule.started", cron=cron, timezone=timezone, next=str(job.next_run_time))
    try:
        async with anyio.create_task_group() as tasks, requests, due:
            tasks.start_soon(_close_on_stop, stop, requests)
            async for _ in due:
                await _carry_out(run_once)
                if stop.is_set():
                    break
                log.info("schedule.waiting", next=str(job.next_run_time))
            tasks.cancel_scope.cancel()
    finally:
        scheduler.shutdown(wait=False)
        log.info("schedule.ended")


async def _close_on_stop(stop: anyio.Event, requests: Any) -> None:
    await stop.wait()
    await requests.aclose()


async def _carry_out(run_once: Callable[[], Awaitable[Any]]) -> None:
    try:
        await run_once()
    except WorkerError as fault:
        log.error(  # noqa: TRY400 - an error with a name needs no traceback
            "schedule.run_failed",
            code=int(fault.exit_code),
            reason=fault.message,
            hint=fault.hint,
        )
