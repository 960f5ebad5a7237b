"""``schedule``: asks for a run on a cron expression; our own task group carries it out.

APScheduler 3 cancels running coroutine jobs when it shuts down, so its job only posts a request on
a one-slot stream. A request that finds the slot taken is dropped: runs never overlap and never pile
up.
"""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from worker.errors import ConfigurationError, WorkerError

log = structlog.get_logger(__name__)

MISFIRE_GRACE_S: Final = 3600
"""A start that was missed by up to this long (a sleeping machine) is made good once."""

_WAKE_S: Final = 60.0

_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHIFT_MAX: Final = timedelta(hours=3)
"""By more no zone's clocks are changed in a night."""


class WallClockTrigger(BaseTrigger):  # type: ignore[misc] # it comes without types
    """A cron expression on a wall clock that is changed twice a year; the rule is cron(8)'s.

    Each time that the expression names comes once a day. One that the night of 25 hours has twice
    is meant the first time; one that the night of 23 hours leaves out comes as long after the
    change as it was to come after the hour before: 02:30 at 03:30. Where the expression leaves the
    hour open (``*``, ``*/2``), hours count as they pass, and none is made up for.

    APScheduler's own trigger runs ``30 2 * * *`` twice in October, and ``30 0 * * *`` not at all
    on the day after the change in March.
    """

    def __init__(self, cron: CronTrigger, zone: ZoneInfo, *, any_hour: bool) -> None:
        self._cron = cron
        self._zone = zone
        self._any_hour = any_hour

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """The first time after the previous one; without one, the first from ``now`` on."""
        after = (previous_fire_time or now).astimezone(UTC)
        if previous_fire_time is None:
            after -= timedelta(microseconds=1)
        found: datetime | None = None
        # On the wall, and by up to a shift too early: later on the wall may be sooner in truth.
        wall = after.astimezone(self._zone).replace(tzinfo=UTC) - _SHIFT_MAX
        while True:
            wall = self._cron.get_next_fire_time(None, wall)
            if wall is None or (found and wall - found.replace(tzinfo=UTC) > _SHIFT_MAX):
                return found
            times = [at for at in self._times(wall) if at.astimezone(UTC) > after]
            found = min((*times, *([found] if found else [])), key=datetime.timestamp, default=None)
            wall += timedelta(seconds=1)

    def _times(self, wall: datetime) -> Iterator[datetime]:
        """When the wall clock shows this: once, twice or, by rights, never."""
        first = wall.replace(tzinfo=self._zone, fold=0)
        second = first.replace(fold=1)
        is_left_out = second.utcoffset() > first.utcoffset()  # type: ignore[operator]
        if not (self._any_hour and is_left_out):
            yield first.astimezone(UTC).astimezone(self._zone)
        if self._any_hour and second.utcoffset() != first.utcoffset() and not is_left_out:
            yield second


def trigger_of(cron: str, timezone: str) -> WallClockTrigger:
    """When to run.

    Raises:
        ConfigurationError: the expression has no meaning.
    """
    try:
        *fields, weekday = cron.split()
        expression = " ".join((*fields, _weekdays(weekday.lower())))
        return WallClockTrigger(
            CronTrigger.from_crontab(expression, timezone=UTC),
            ZoneInfo(timezone),
            any_hour=fields[1].startswith("*"),
        )
    except ValueError as error:
        raise ConfigurationError(
            f"schedule.cron: {cron!r} is no cron expression: {error}",
            hint="five fields: minute, hour, day, month, day of the week; e.g. '30 3 * * *'",
        ) from error


def _weekdays(field: str) -> str:
    """The days of the week by name: to cron 0 and 7 are Sunday, to APScheduler 0 is Monday.

    Raises:
        ValueError: it is no such field.
    """
    if field in {"*", "?"}:
        return "*"
    chosen: set[int] = set()
    for item in field.split(","):
        days, slash, step = item.partition("/")
        first, dash, last = days.partition("-")
        low = 0 if days == "*" else _weekday(first)
        high = _weekday(last) if dash else 6 if slash or days == "*" else low
        high += 7 if dash and last == "sun" and high < low else 0
        if low > high:
            raise ValueError(f"the days of the week in {item!r} run backwards")
        chosen.update(day % 7 for day in range(low, high + 1, int(step) if slash else 1))
    return ",".join(_WEEKDAYS[day] for day in sorted(chosen))


def _weekday(text: str) -> int:
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    if text.isascii() and text.isdigit() and int(text) <= len(_WEEKDAYS):
        return int(text)
    raise ValueError(f"{text!r} is no day of the week (0-7, or sun to sat)")


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

    Raises:
        ConfigurationError: the expression has no meaning.
    """
    trigger = trigger_of(cron, timezone)
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
        trigger,
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
