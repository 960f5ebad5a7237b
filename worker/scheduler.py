"""``schedule``: asks for a run on a cron expression; our own task group carries it out.

APScheduler 3 cancels running coroutine jobs when it shuts down, so its job only posts a request on
a one-slot stream. A request that finds the slot taken is dropped: runs never overlap and never pile
up.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim

from worker.errors import WorkerError

log = structlog.get_logger(__name__)

MISFIRE_GRACE_S: Final = 3600
"""A start that was missed by up to this long (a sleeping machine) is made good once."""

_WAKE_S: Final = 60.0


def next_start(cron: str, after: datetime) -> datetime | None:
    """The first time after an instant that the expression names, by the rules of cron(8).

    If the expression names both a day of the month and a day of the week, one of them is enough.
    A time that clocks skip in spring starts right after the change. A time that they show twice in
    autumn starts the first time. Where minute or hour begin with ``*``, every hour counts.

    Args:
        cron: five fields, which the configuration has checked.
        after: aware; its zone is the one in which the expression is meant.

    Returns:
        ``None`` if there is no such time within 50 years.
    """
    # In the second of two equal hours CronSim begins with times of the first.
    return next((at for at in CronSim(cron, after) if at.astimezone(UTC) > after), None)


class CronSimTrigger(BaseTrigger):  # type: ignore[misc] # it comes without types
    """``next_start`` for APScheduler, whose own trigger starts twice in autumn."""

    def __init__(self, cron: str, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """The first start after the previous one; without one, the first from ``now`` on."""
        after = previous_fire_time or now - timedelta(microseconds=1)
        return next_start(self._cron, after.astimezone(self._zone))


async def run_on_schedule(
    run_once: Callable[[], Awaitable[Any]],
    *,
    cron: str,
    timezone: str,
    stop: anyio.Event,
    now: bool = False,
) -> None:
    """Run on the expression until ``stop`` is set; a run that is on then ends by the same event.

    Args:
        run_once: carries out one run; errors with a name are logged and the schedule goes on.
        cron: five fields, e.g. ``30 3 * * *``.
        timezone: the IANA zone in which it is meant.
        stop: set it to end.
        now: run once at the start, too.
    """
    requests, due = anyio.create_memory_object_stream[None](1)
    scheduler = AsyncIOScheduler(timezone=timezone)

    async def ask() -> None:  # in the loop: of a plain function APScheduler makes a thread
        try:
            requests.send_nowait(None)
        except anyio.WouldBlock:
            log.warning("schedule.skipped", reason="the run before is still on")
        except anyio.ClosedResourceError:
            log.info("schedule.skipped", reason="the schedule is ending")

    job = scheduler.add_job(
        ask,
        CronSimTrigger(cron, timezone),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=MISFIRE_GRACE_S,
    )
    scheduler.start()
    log.info("schedule.started", cron=cron, timezone=timezone, next=str(job.next_run_time))
    if now:
        await ask()
    try:
        async with anyio.create_task_group() as tasks, requests, due:
            tasks.start_soon(_watch, scheduler, stop, requests)
            async for _ in due:
                await _carry_out(run_once)
                if stop.is_set():
                    break
                log.info("schedule.waiting", next=str(job.next_run_time))
            tasks.cancel_scope.cancel()
    finally:
        scheduler.shutdown(wait=False)
        log.info("schedule.ended")


async def _watch(scheduler: AsyncIOScheduler, stop: anyio.Event, requests: Any) -> None:
    """Have the wall clock looked at every minute: timers stand still while a machine sleeps."""
    while not stop.is_set():
        with anyio.move_on_after(_WAKE_S):
            await stop.wait()
        scheduler.wakeup()
    await requests.aclose()


async def _carry_out(run_once: Callable[[], Awaitable[Any]]) -> None:
    try:
        await run_once()
    except WorkerError as error:
        log.error(  # noqa: TRY400 - an error with a name needs no traceback
            "schedule.run_failed",
            code=int(error.exit_code),
            reason=error.message,
            hint=error.hint,
        )
