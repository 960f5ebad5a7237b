"""``schedule``: requests a run on a cron expression, and executes it in a task group of its own.

APScheduler 3 cancels running coroutine jobs when it shuts down, so its job only sends a request to
a stream with room for one. If the stream is full the request is dropped: runs never overlap and
never queue up. A run that ends with 4, 69 or 75 is retried with growing waits until the next start.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim

from worker.core.run import RunReport
from worker.core.value import Value
from worker.errors import ExitCode, WorkerError
from worker.ports import Runtime

log = structlog.get_logger(__name__)

RETRY_WAIT_S: Final = 300.0
"""The default wait before the first retry; each further one is twice as long."""
RETRY_WAIT_S_MAX: Final = 3600.0
"""No wait grows beyond this."""

_DOUBLINGS_MAX: Final = 20
_JITTER: Final = 0.1
_WAKE_S: Final = 60.0
_LATE: Final = timedelta(seconds=60)
"""A start is on time until then."""
_SET_BACK: Final = timedelta(hours=1)
"""A clock that is set back by no more repeats no start."""
_RETRIED: Final = frozenset({ExitCode.LEASE_HELD, ExitCode.UNAVAILABLE, ExitCode.STOPPED})
_UNREMARKABLE: Final = frozenset({ExitCode.OK, ExitCode.GAPS})
_HINTS: Final = {
    ExitCode.WITHHELD: "`pts-worker status` shows the figures; if the removals are right, run "
    "`pts-worker sync --accept-removals` once",
    ExitCode.DATA_CONTRACT: "correct the roster if the reason names it; otherwise report it to NHN",
    ExitCode.REFUSED: "run `pts-worker doctor`; check key, scope and organisation in self-service",
    ExitCode.CONFIGURATION: "run `pts-worker doctor`, fix what it reports, and restart the "
    "schedule",
}

Work = Callable[[], Awaitable[RunReport | None]]
"""Executes one run; ``None`` if there was nothing to do."""


class RunEnd(Value, frozen=True, kw_only=True):
    """How the last run of the schedule ended; reason and hint without personal values."""

    exit_code: ExitCode
    reason: str = ""
    hint: str = ""


@dataclass(slots=True, kw_only=True)
class ScheduleState:
    """The current state of the schedule, for systemd. All times are UTC.

    Attributes:
        retry_at: the next retry, if there is one before the next scheduled start.
    """

    next_at: datetime | None = None
    retry_at: datetime | None = None
    running_since: datetime | None = None


def wait_before_retry_s(
    exit_code: ExitCode,
    retries: int,
    *,
    until_next_s: float | None,
    uniform: float,
    first_s: float = RETRY_WAIT_S,
) -> float | None:
    """How long to wait before a run is retried: 5, 10, 20, 40 min, then an hour, each +/- 10 %.

    Args:
        exit_code: how the run ended; 4, 69 and 75 are retried, others are not.
        retries: how many retries there were since the last scheduled start.
        until_next_s: seconds until the next scheduled start; None if there is none.
        uniform: a random number in [0, 1), for jitter.
        first_s: the first wait, instead of 5 min.

    Returns:
        Seconds; None if the run is not retried before the next scheduled start.
    """
    if exit_code not in _RETRIED:
        return None
    longest_s = max(first_s, RETRY_WAIT_S_MAX)
    base_s = min(first_s * 2.0 ** min(retries, _DOUBLINGS_MAX), longest_s)
    wait_s = base_s * (1 + _JITTER * (2 * uniform - 1))
    return None if until_next_s is not None and wait_s >= until_next_s else wait_s


def next_start(cron: str, after: datetime) -> datetime | None:
    """The first time after ``after`` that matches the expression, by the rules of cron(8).

    If the expression names both a day of the month and a day of the week, one of them is enough.
    A time that clocks skip in spring starts right after the change. A time that occurs twice in
    autumn starts the first time. If minute or hour begin with ``*``, every hour counts.

    Args:
        cron: five fields, checked by the configuration.
        after: an aware time; the expression applies in its time zone.

    Returns:
        ``None`` if there is no such time within 50 years.
    """
    # In the repeated hour of autumn, CronSim begins with times of the first occurrence.
    return next((at for at in CronSim(cron, after) if at.astimezone(UTC) > after), None)


class CronSimTrigger(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """``next_start`` for APScheduler, whose own trigger starts twice in autumn.

    Attributes:
        last: the last start that was due.
    """

    def __init__(self, cron: str, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)
        self.last: datetime | None = None

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """The first start from ``now`` on that is after the previous one, if there is one.

        Starts between the two are not returned: however many were missed, one makes up for them.
        """
        self.last = previous_fire_time or self.last
        after = now - timedelta(microseconds=1)
        if previous_fire_time is not None:
            after = max(after, previous_fire_time.astimezone(UTC))
        return next_start(self._cron, after.astimezone(self._zone))


async def run_on_schedule(
    run_once: Work,
    *,
    cron: str,
    timezone: str,
    stop: anyio.Event,
    runtime: Runtime,
    retry_wait_s: float = RETRY_WAIT_S,
    first: Work | None = None,
    state: ScheduleState | None = None,
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> None:
    """Run on the expression until ``stop`` is set, which also stops an active run.

    A run that ends with 4, 69 or 75 is retried (``wait_before_retry_s``). Exit codes that need a
    person are logged at ERROR with a hint. The schedule continues in both cases. Starts that were
    missed (the machine slept) are made up for once, whenever that is noticed.

    Args:
        retry_wait_s: the wait before the first retry.
        first: executed once at the start; retried like a run.
        state: kept up to date, if given.
        beside: tasks that run until the schedule ends.
    """
    requests, due = anyio.create_memory_object_stream[Work](1)
    scheduler = AsyncIOScheduler(timezone=timezone)
    state = ScheduleState() if state is None else state

    # A coroutine: APScheduler would run a plain function in a thread.
    async def request_run(work: Work) -> None:
        try:
            requests.send_nowait(work)
        except anyio.WouldBlock:
            log.warning("schedule.skipped", reason="the previous run is still active")
        except anyio.ClosedResourceError:
            log.info("schedule.skipped", reason="the schedule is ending")

    async def request_due_run() -> None:
        if trigger.last is not None and (late := runtime.now() - trigger.last) > _LATE:
            log.warning(
                "schedule.late", start=str(trigger.last), late_s=round(late.total_seconds())
            )
        await request_run(run_once)

    trigger = CronSimTrigger(cron, timezone)
    job = scheduler.add_job(
        request_due_run, trigger, coalesce=True, max_instances=1, misfire_grace_time=None
    )

    async def watch(context: _Context) -> None:
        await _watch(job, trigger, context, scheduler)
        await requests.aclose()

    scheduler.start()
    log.info("schedule.started", cron=cron, timezone=timezone, next=str(job.next_run_time))
    if first is not None:
        await request_run(first)
    try:
        async with anyio.create_task_group() as tasks, requests, due:
            context = _Context(lambda: job.next_run_time, runtime, stop, state, retry_wait_s)
            tasks.start_soon(watch, context)
            for task in beside:
                tasks.start_soon(task)
            await _execute_requests(due, context)
            tasks.cancel_scope.cancel()
    finally:
        scheduler.shutdown(wait=False)
        log.info("schedule.ended")


class _Context(Value, frozen=True):
    """What ``_execute_requests`` needs besides the requests."""

    next_start: Callable[[], datetime | None]
    runtime: Runtime
    stop: anyio.Event
    state: ScheduleState
    retry_wait_s: float


async def _execute_requests(due: MemoryObjectReceiveStream[Work], context: _Context) -> None:
    """Execute requested runs and retries until the schedule ends."""
    state, retry, retries, wait_s = context.state, None, 0, None
    while True:
        state.next_at = _utc(context.next_start())
        requested = await _receive(due, wait_s)
        work = retry if requested is None else requested
        if work is None or context.stop.is_set():
            return
        retries = retries + 1 if requested is None else 0
        state.retry_at, state.running_since = None, context.runtime.now()
        end = await _execute(work)
        state.running_since = None
        if context.stop.is_set():
            return
        wait_s = None if end is None else _wait_after(end, retries, context)
        retry = None if wait_s is None else work
        next_at = context.next_start() if wait_s is None else context.state.retry_at
        log.info("schedule.waiting", next=str(next_at))


async def _receive(due: MemoryObjectReceiveStream[Work], wait_s: float | None) -> Work | None:
    """The next request; None after ``wait_s`` seconds, or when the stream is closed."""
    try:
        with suppress(anyio.WouldBlock):
            return due.receive_nowait()  # nobody sees the schedule waiting for what is there
        with anyio.move_on_after(float("inf") if wait_s is None else wait_s):
            return await due.receive()
    except anyio.EndOfStream:
        return None
    return None


def _wait_after(end: RunEnd, retries: int, context: _Context) -> float | None:
    """Report how a run ended. Returns the seconds to wait before a retry, or None."""
    state, now = context.state, context.runtime.now()
    state.next_at = _utc(context.next_start())
    wait_s = wait_before_retry_s(
        end.exit_code,
        retries,
        until_next_s=None if state.next_at is None else (state.next_at - now).total_seconds(),
        uniform=context.runtime.uniform(),
        first_s=context.retry_wait_s,
    )
    if wait_s is not None:
        state.retry_at = now + timedelta(seconds=wait_s)
        log.warning(
            "schedule.retrying",
            code=int(end.exit_code),
            reason=end.reason,
            hint=end.hint,
            retry=retries + 1,
            wait_s=round(wait_s),
        )
    elif end.exit_code == ExitCode.LEASE_HELD:
        log.warning("schedule.skipped", reason=end.reason)
    elif end.exit_code not in _UNREMARKABLE:
        log.error("schedule.run_failed", code=int(end.exit_code), reason=end.reason, hint=end.hint)
    return wait_s


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)


async def _watch(job: Any, trigger: CronSimTrigger, context: _Context, scheduler: Any) -> None:
    """Follow the wall clock every minute: it may be set, and timers stop while a machine sleeps."""
    while not context.stop.is_set():
        with anyio.move_on_after(_WAKE_S):
            await context.stop.wait()
        _correct_next_start(job, trigger, context)
        scheduler.wakeup()


def _correct_next_start(job: Any, trigger: CronSimTrigger, context: _Context) -> None:
    """Compute the next start anew: the clock may have been ahead when that was last done."""
    now, kept = context.runtime.now(), _utc(job.next_run_time)
    if kept is None or kept <= now:
        return
    is_done = trigger.last is not None and trigger.last <= now + _SET_BACK
    start = trigger.get_next_fire_time(trigger.last if is_done else None, now)
    if start is not None and _utc(start) != kept:
        job.modify(next_run_time=start)
        context.state.next_at = _utc(start)
        log.warning("schedule.rescheduled", kept=str(kept), next=str(start))


async def _execute(work: Work) -> RunEnd | None:
    try:
        report = await work()
    except WorkerError as error:
        return RunEnd(
            exit_code=error.exit_code,
            reason=error.message,
            hint=error.hint,
        )
    if report is None:
        return None
    return RunEnd(
        exit_code=report.exit_code,
        reason="; ".join(report.reasons),
        hint=_HINTS.get(report.exit_code, ""),
    )
