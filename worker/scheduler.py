"""``schedule``: starts runs on a cron expression, and retries runs that ended with 4, 69 or 75.

APScheduler 3 cancels running coroutine jobs when it shuts down. Therefore its jobs only request a
run, in a stream with room for one request. Runs never overlap: missed starts are combined into one.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import anyio
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim

from worker.core.run import RunReport
from worker.errors import ExitCode, WorkerError
from worker.ports import Runtime

log = structlog.get_logger(__name__)

_RETRIED: Final = frozenset({ExitCode.LEASE_HELD, ExitCode.UNAVAILABLE, ExitCode.STOPPED})
_RETRY_WAIT: Final = timedelta(minutes=15)
"""The same time as in ``pts-sync.service``."""
_WAKE_S: Final = 60.0

Work = Callable[[], Awaitable[RunReport | None]]
"""Executes one run. ``None`` if there was nothing to do."""


class CronSimTrigger(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """The start times of a cron expression of five fields, by the rules of cron(8).

    APScheduler's own trigger counts weekdays from Monday, and starts twice in autumn. Here, a time
    that occurs twice starts a run the first time only, or both times if the minute or hour field
    begins with ``*``. A time that is skipped in spring starts a run right after the change.
    """

    def __init__(self, cron: str, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime | None:
        """The first start after ``now``, or None.

        Earlier starts are not returned, because missed starts are combined into one.
        """
        after = now.astimezone(self._zone)
        # In the repeated hour of autumn, CronSim also returns times that have already passed.
        return next((at for at in CronSim(self._cron, after) if at.astimezone(UTC) > after), None)


class Schedule:
    """Runs on a cron expression. A run that ends with 4, 69 or 75 is retried a little later."""

    def __init__(self, run_once: Work, *, cron: str, timezone: str, runtime: Runtime) -> None:
        self._runtime = runtime
        # A missed start runs later, however late that is.
        jobs = {"coalesce": True, "misfire_grace_time": None}
        self._scheduler = AsyncIOScheduler(timezone=timezone, job_defaults=jobs)
        trigger = CronSimTrigger(cron, timezone)
        self._next = self._scheduler.add_job(self._request, trigger, [run_once])
        self._requests, self._due = anyio.create_memory_object_stream[Work](1)

    @property
    def next_at(self) -> datetime | None:
        """The next start or retry, in UTC."""
        times = [job.next_run_time.astimezone(UTC) for job in self._scheduler.get_jobs()]
        return min(times, default=None)

    async def run(self, stop: anyio.Event, first: Work | None = None) -> None:
        """Run until ``stop`` is set, which also stops an active run. Failed runs do not end it.

        Args:
            first: executed once at the start, and retried like a run.
        """
        self._scheduler.start()
        log.info("schedule.started", next=str(self.next_at))
        if first is not None:
            await self._request(first)
        async with anyio.create_task_group() as tasks, self._due:
            tasks.start_soon(self._watch, stop)
            async for work in self._due:
                if not stop.is_set():
                    await self._execute(work, stop)
        log.info("schedule.ended")

    # A coroutine, because APScheduler runs plain functions in a thread.
    async def _request(self, work: Work) -> None:
        with suppress(anyio.WouldBlock):  # a run is already requested, and starts are combined
            self._requests.send_nowait(work)

    async def _execute(self, work: Work, stop: anyio.Event) -> None:
        """Execute a run. If a retry may help, schedule one, unless the next start comes sooner."""
        code, reason = ExitCode.OK, ""
        try:
            if (report := await work()) is not None:
                code, reason = report.exit_code, "; ".join(report.reasons)
        except WorkerError as error:
            code, reason = error.exit_code, error.advice
        if stop.is_set():
            return
        if code in _RETRIED:
            # Jitter, so that hospitals do not retry in the same second.
            at = self._runtime.now() + _RETRY_WAIT * (0.9 + 0.2 * self._runtime.uniform())
            if at < self._next.next_run_time:
                self._scheduler.add_job(self._request, "date", [work], run_date=at)
            log.warning("schedule.retrying", code=int(code), reason=reason)
        elif code not in {ExitCode.OK, ExitCode.GAPS}:
            log.error("schedule.run_failed", code=int(code), reason=reason)
        log.info("schedule.waiting", next=str(self.next_at))

    async def _watch(self, stop: anyio.Event) -> None:
        """Check the wall clock each minute, because it can be set, and a machine can sleep."""
        try:
            while not stop.is_set():
                if self._next.next_run_time > self._runtime.now():
                    self._next.reschedule(self._next.trigger)  # the clock may have been set back
                self._scheduler.wakeup()
                with anyio.move_on_after(_WAKE_S):
                    await stop.wait()
        finally:
            self._scheduler.shutdown(wait=False)
            self._requests.close()
