"""Cron expressions as cron reads them."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random
from zoneinfo import ZoneInfo

import anyio
import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers
from structlog.testing import capture_logs

from tests.simulation.loop import Clock, run_simulated
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunReport
from worker.errors import ConfigurationError, ExitCode, LeaseHeldError, UnavailableError
from worker.scheduler import ScheduleState, next_start, run_on_schedule, wait_before_retry_s

OSLO = ZoneInfo("Europe/Oslo")


def starts(cron: str, begin: datetime, hours: int) -> list[str]:
    """When it starts, on the wall and with the zone's offset."""
    found: list[str] = []
    end, at = begin.astimezone(UTC) + timedelta(hours=hours), next_start(cron, begin)
    while at is not None and at.astimezone(UTC) < end:
        found.append(f"{at:%d %H:%M%z}")
        at = next_start(cron, at)
    return found


def days_of(cron: str, begin: datetime, days: int) -> list[int]:
    """The days of the month on which it starts."""
    return [int(at[:2]) for at in starts(cron, begin, 24 * days)]


@pytest.mark.parametrize(
    ("weekday", "expected"),
    [
        ("*", [2, 3, 4, 5, 6, 7, 8]),
        ("0", [8]),
        ("7", [8]),
        ("1", [2]),
        ("1-5", [2, 3, 4, 5, 6]),
        ("5-7", [6, 7, 8]),
        ("mon-FRI", [2, 3, 4, 5, 6]),
        ("sun,3", [4, 8]),
        ("1-5/2", [2, 4, 6]),
    ],
)
def test_days_of_the_week(weekday: str, expected: list[int]) -> None:
    """Numbers count from Sunday, as in crontab(5), and not from Monday, as in APScheduler."""
    monday = datetime(2026, 11, 2, tzinfo=OSLO)
    assert expected == days_of(f"30 3 * * {weekday}", monday, 7)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("1,15 * 5", [1, 6, 13, 15, 20, 27]),
        ("13 * 5", [6, 13, 20, 27]),
        ("1,15 * *", [1, 15]),
        ("* * 5", [6, 13, 20, 27]),
        ("*/10 * 0", [1]),
        ("1-7 * */7", [1]),
    ],
)
def test_a_day_of_the_month_or_of_the_week(days: str, expected: list[int]) -> None:
    """If both are named, one of them is enough; a field that begins with ``*`` names none."""
    november = datetime(2026, 11, 1, tzinfo=OSLO)
    assert expected == days_of(f"30 3 {days}", november, 30)


NIGHT_OF_25_H = datetime(2026, 10, 24, 23, 59, tzinfo=OSLO)
NIGHT_OF_23_H = datetime(2026, 3, 28, 23, 59, tzinfo=OSLO)


@pytest.mark.parametrize(
    ("cron", "begin", "expected"),
    [
        ("30 2 * * *", NIGHT_OF_25_H, ["25 02:30+0200", "26 02:30+0100"]),
        ("0 2 * * *", NIGHT_OF_25_H, ["25 02:00+0200", "26 02:00+0100"]),
        ("30 2 * * 0", NIGHT_OF_25_H, ["25 02:30+0200"]),
        ("30 3 * * *", NIGHT_OF_25_H, ["25 03:30+0100", "26 03:30+0100"]),
        ("0 2,3 25 * *", NIGHT_OF_25_H, ["25 02:00+0200", "25 03:00+0100"]),
        ("30 2 * * *", NIGHT_OF_23_H, ["29 03:00+0200", "30 02:30+0200"]),
        ("0 2 * * *", NIGHT_OF_23_H, ["29 03:00+0200", "30 02:00+0200"]),
        ("30 2 * * 0", NIGHT_OF_23_H, ["29 03:00+0200"]),
        ("30 0 * * *", NIGHT_OF_23_H, ["29 00:30+0100", "30 00:30+0200"]),
        ("30 3 * * *", NIGHT_OF_23_H, ["29 03:30+0200", "30 03:30+0200"]),
        ("0 2,3 29 * *", NIGHT_OF_23_H, ["29 03:00+0200"]),
    ],
)
def test_once_a_night_when_the_clocks_change(
    cron: str, begin: datetime, expected: list[str]
) -> None:
    """Neither twice in the night of 25 hours nor never in that of 23, or on the day after."""
    assert expected == starts(cron, begin, 30)


@pytest.mark.parametrize("minute", [10, 50])
def test_a_schedule_that_begins_in_the_second_of_two_equal_hours(minute: int) -> None:
    """Its first start is the next day's, for that of this night was in the first hour."""
    second = datetime(2026, 10, 25, 2, minute, tzinfo=OSLO, fold=1)
    assert ["26 02:30+0100"] == starts("30 2 * * *", second, 30)


def test_where_the_hour_is_open_hours_count_as_they_pass() -> None:
    """Both hours of the long night have their run; the one that the short night lacks has none."""
    assert ["+0200"] * 3 + ["+0100"] * 3 == [
        at[-5:] for at in starts("15 * * * *", NIGHT_OF_25_H, 6)
    ]
    assert ["00:15", "01:15", "03:15", "04:15"] == [
        at[3:8] for at in starts("15 * * * *", NIGHT_OF_23_H, 4)
    ]


def test_a_day_that_never_comes() -> None:
    """The fifth Friday of a month is never its first day."""
    assert next_start("30 3 */31 * 5#5", NIGHT_OF_23_H) is None


EVENING = datetime(2026, 11, 27, 23, 17, 43, 518_204, tzinfo=OSLO)
MINUTE_S, HOUR_S = 60.0, 3600.0
TO_TWENTY_PAST_S = (EVENING.replace(minute=20, second=0, microsecond=0) - EVENING).total_seconds()
TO_HALF_PAST_TWO_S = (datetime(2026, 11, 28, 2, 30, tzinfo=OSLO) - EVENING).total_seconds()


class ItsDatetime:
    """What APScheduler asks for the time: the clock of the simulated world."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self, zone: tzinfo) -> datetime:
        return self._clock.now().astimezone(zone)


@dataclass(kw_only=True)
class Nights:
    """A schedule in a world where time passes only when everybody waits.

    Attributes:
        begun: when runs have begun, in seconds since the schedule did.
        run_s: how long each takes.
        ends: what the next ones end with, in order; then 0.
        ended_s: when the schedule had ended.
        state: what the schedule says of itself.
    """

    clock: Clock
    stop: anyio.Event
    run_s: float
    begun: list[int] = field(default_factory=list)
    ends: list[Exception | ExitCode] = field(default_factory=list)
    ended_s: int = 0
    state: ScheduleState = field(default_factory=ScheduleState)

    async def run(self) -> RunReport:
        began_at = self.clock.now()
        self.begun.append(round(self.clock.elapsed_s))
        await anyio.sleep(self.run_s)
        end = self.ends.pop(0) if self.ends else ExitCode.OK
        if isinstance(end, Exception):
            raise end
        return RunReport(
            run_id=len(self.begun),
            kind=RunKind.SYNC,
            status=RunStatus.PUBLISHED if end == ExitCode.OK else RunStatus.INTERRUPTED,
            exit_code=end,
            started_at=began_at,
            finished_at=self.clock.now(),
        )


def nights(
    monkeypatch: pytest.MonkeyPatch,
    story: Callable[[Nights], Awaitable[None]],
    cron: str,
    *,
    begin: datetime = EVENING,
    now: bool = False,
    run_s: float = 60.0,
) -> Nights:
    """What came of a schedule, which is stopped when the story is over."""
    clock = Clock(begin.astimezone(UTC))
    for module in (schedulers, executors):
        monkeypatch.setattr(module, "datetime", ItsDatetime(clock))

    async def tell(_loop: object) -> Nights:
        made = Nights(clock=clock, stop=anyio.Event(), run_s=run_s)
        async with anyio.create_task_group() as tasks:

            async def schedule() -> None:
                await run_on_schedule(
                    made.run,
                    cron=cron,
                    timezone="Europe/Oslo",
                    stop=made.stop,
                    runtime=clock.runtime(),
                    first=made.run if now else None,
                    state=made.state,
                )
                made.ended_s = round(clock.elapsed_s)

            tasks.start_soon(schedule)
            await anyio.sleep(0.5)
            await story(made)
            made.stop.set()
        return made

    found: Nights = run_simulated(tell, clock, Random(1))
    return found


def test_it_runs_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a night, neither early nor late; a run that is not retried changes nothing."""

    async def story(made: Nights) -> None:
        made.ends = [ConfigurationError("no key", hint="make one")] * 3
        await anyio.sleep(54 * HOUR_S)

    expected = [round(TO_HALF_PAST_TWO_S + night * 24 * HOUR_S) for night in range(3)]
    assert expected == nights(monkeypatch, story, "30 2 * * *").begun


@pytest.mark.parametrize(
    ("begin", "first_s", "second_s"),
    [
        (NIGHT_OF_25_H, 2.5 * HOUR_S + MINUTE_S, 27.5 * HOUR_S + MINUTE_S),
        (NIGHT_OF_23_H, 2 * HOUR_S + MINUTE_S, 25.5 * HOUR_S + MINUTE_S),
    ],
)
def test_it_runs_once_in_nights_when_the_clocks_change(
    monkeypatch: pytest.MonkeyPatch, begin: datetime, first_s: float, second_s: float
) -> None:
    """In October the first 02:30 counts; in March, when there is none, the change to 03:00."""

    async def story(_made: Nights) -> None:
        await anyio.sleep(36 * HOUR_S)

    begun = nights(monkeypatch, story, "30 2 * * *", begin=begin).begun
    assert [round(first_s), round(second_s)] == begun


def test_now_is_at_once_and_then_as_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """``now`` adds a run and takes none away."""

    async def story(_made: Nights) -> None:
        await anyio.sleep(10 * HOUR_S)

    begun = nights(monkeypatch, story, "30 2 * * *", now=True).begun
    assert [0, round(TO_HALF_PAST_TWO_S)] == begun


@pytest.mark.parametrize(
    ("cron", "late_s", "runs"),
    [
        ("30 2 * * *", 58 * MINUTE_S, 1),
        ("30 2 * * *", 11 * HOUR_S, 1),
        ("30 2 * * *", 73 * HOUR_S, 1),
        ("*/10 * * * *", 8 * HOUR_S, 1),
        ("* * * * *", 20 * 365 * 24 * HOUR_S, 5),
    ],
    ids=["an hour", "noon", "three nights", "many at once", "a clock that begins in the past"],
)
def test_a_start_that_was_missed(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cron: str,
    late_s: float,
    runs: int,
) -> None:
    """A machine that slept makes up for it once, however long that was, and the log says so.

    Timers stand still while it sleeps (timer_create(2), CLOCK_MONOTONIC), the wall clock does not.
    """

    async def story(made: Nights) -> None:
        made.clock.leap_s += TO_HALF_PAST_TWO_S + late_s
        await anyio.sleep(5 * MINUTE_S)

    with capture_logs() as logs:
        assert runs == len(nights(monkeypatch, story, cron).begun)
    (late,) = [one for one in logs if one["event"] == "schedule.late"]
    assert late["late_s"] == pytest.approx(late_s, abs=61) or cron != "30 2 * * *"
    assert [] == [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]


@pytest.mark.parametrize("runs_ahead", [False, True])
def test_a_clock_that_was_ahead(monkeypatch: pytest.MonkeyPatch, runs_ahead: bool) -> None:
    """Corrected, it costs no night, though a run was started while it was two days ahead."""
    ahead_s, begun_s = 48 * HOUR_S, 4 * HOUR_S if runs_ahead else HOUR_S

    async def story(made: Nights) -> None:
        await anyio.sleep(begun_s)
        made.clock.leap_s -= ahead_s
        await anyio.sleep(2 * MINUTE_S)
        assert made.state.next_at == expected
        await anyio.sleep(24 * HOUR_S)

    begin = EVENING + timedelta(seconds=ahead_s)
    tonight = EVENING + timedelta(seconds=TO_HALF_PAST_TWO_S)
    expected = (tonight + timedelta(days=runs_ahead)).astimezone(UTC)
    with capture_logs() as logs:
        begun = nights(monkeypatch, story, "30 2 * * *", begin=begin).begun
    nightly = [TO_HALF_PAST_TWO_S, TO_HALF_PAST_TWO_S + 24 * HOUR_S]
    assert (nightly if runs_ahead else nightly[:1]) == pytest.approx(begun, abs=1)
    (event,) = [one for one in logs if one["event"] == "schedule.rescheduled"]
    assert datetime.fromisoformat(event["next"]) == expected


def test_a_clock_that_is_set_back_a_little_repeats_no_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when it is corrected by ten minutes after the night's start."""

    async def story(made: Nights) -> None:
        await anyio.sleep(TO_HALF_PAST_TWO_S + MINUTE_S)
        made.clock.leap_s -= 10 * MINUTE_S
        await anyio.sleep(20 * HOUR_S)

    assert 1 == len(nights(monkeypatch, story, "30 2 * * *").begun)


AWAY = UnavailableError("PTS is away")


def test_69_does_not_wait_until_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """PTS is away for a part of the night: growing waits, recovery, and then the next night."""

    async def story(made: Nights) -> None:
        made.ends = [AWAY, ExitCode.UNAVAILABLE, ExitCode.STOPPED, AWAY, AWAY, AWAY]
        await anyio.sleep(TO_HALF_PAST_TWO_S + 26 * HOUR_S)

    with capture_logs() as logs:
        begun = nights(monkeypatch, story, "30 2 * * *").begun
    waits = [round((b - a - MINUTE_S) / MINUTE_S) for a, b in itertools.pairwise(begun[:7])]
    assert [5, 10, 20, 40, 60, 60] == waits
    assert [round(TO_HALF_PAST_TWO_S + 24 * HOUR_S)] == begun[7:]
    assert [] == [one for one in logs if one["log_level"] == "error"]


HELD = LeaseHeldError("another run holds the lease")


def test_a_held_lease_does_not_cost_the_night(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfill that somebody started is waited for as an outage is, and the log says so."""

    async def story(made: Nights) -> None:
        made.ends = [HELD, HELD]
        await anyio.sleep(TO_HALF_PAST_TWO_S + 2 * HOUR_S)

    with capture_logs() as logs:
        begun = nights(monkeypatch, story, "30 2 * * *").begun
    waits = [round((b - a - MINUTE_S) / MINUTE_S) for a, b in itertools.pairwise(begun)]
    assert [5, 10] == waits
    retries = [one for one in logs if one["event"] == "schedule.retrying"]
    assert [(4, HELD.message)] * 2 == [(one["code"], one["reason"]) for one in retries]


def test_a_lease_that_is_held_until_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """That start was skipped, which nobody has to mend."""

    async def story(made: Nights) -> None:
        made.ends = [HELD]
        await anyio.sleep(2 * MINUTE_S + 3)

    with capture_logs() as logs:
        nights(monkeypatch, story, "*/2 * * * *", now=True)
    assert [HELD.message] == [one["reason"] for one in logs if one["event"] == "schedule.skipped"]
    assert [] == [one for one in logs if one["log_level"] == "error"]


def test_a_night_without_recovery_keeps_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hourly until the next start, which comes in time; its own retries begin with 5 min again."""

    async def story(made: Nights) -> None:
        made.ends = [AWAY] * 100
        await anyio.sleep(TO_HALF_PAST_TWO_S + 24 * HOUR_S + 10 * MINUTE_S)

    begun = nights(monkeypatch, story, "30 2 * * *").begun
    tomorrow = round(TO_HALF_PAST_TWO_S + 24 * HOUR_S)
    assert [tomorrow, tomorrow + 6 * MINUTE_S] == begun[-2:]
    gaps = [b - a for a, b in itertools.pairwise(begun[5:-2])]
    assert [HOUR_S + MINUTE_S] * len(gaps) == gaps
    assert len(gaps) > 15


@pytest.mark.parametrize("code", [5, 65, 77, 78])
def test_what_waiting_cannot_mend_is_reported(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """One error with a hint, no retry, and the next night's start."""

    async def story(made: Nights) -> None:
        made.ends = [ExitCode(code)]
        await anyio.sleep(TO_HALF_PAST_TWO_S + 2 * HOUR_S)
        assert made.state.last_end is not None
        assert code == made.state.last_end.exit_code
        assert made.state.retry_at is None
        await anyio.sleep(24 * HOUR_S)

    with capture_logs() as logs:
        assert 2 == len(nights(monkeypatch, story, "30 2 * * *").begun)
    (error,) = [one for one in logs if one["log_level"] == "error"]
    assert ("schedule.run_failed", code) == (error["event"], error["code"])
    assert error["hint"]


def test_a_stop_ends_the_wait_for_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and no run begins."""

    async def story(made: Nights) -> None:
        made.ends = [AWAY]
        await anyio.sleep(2 * MINUTE_S)
        assert made.state.retry_at is not None

    found = nights(monkeypatch, story, "30 2 * * *", now=True)
    assert [0] == found.begun
    assert found.ended_s <= 2 * MINUTE_S + 1


@pytest.mark.parametrize(("uniform", "expected_s"), [(0.0, 270), (0.5, 300), (0.999_999, 330)])
def test_retries_are_spread(uniform: float, expected_s: float) -> None:
    """By a tenth in both directions, so that hospitals do not come back at the same second."""
    wait_s = wait_before_retry_s(ExitCode.UNAVAILABLE, 0, until_next_s=None, uniform=uniform)
    assert wait_s == pytest.approx(expected_s, abs=0.1)


@pytest.mark.parametrize(
    ("first_s", "expected_s"),
    [(60, [60, 120, 240, 480, 960, 1920, 3600, 3600]), (7200, [7200, 7200])],
)
def test_the_first_wait_is_configured(first_s: float, expected_s: list[float]) -> None:
    """Twice as long each time, up to an hour; a longer first wait stays as it is."""
    waits_s = [
        wait_before_retry_s(
            ExitCode.UNAVAILABLE, retries, until_next_s=None, uniform=0.5, first_s=first_s
        )
        for retries in range(len(expected_s))
    ]
    assert expected_s == waits_s
    assert wait_before_retry_s(ExitCode.UNAVAILABLE, 10**6, until_next_s=None, uniform=0.5) == 3600


def test_a_retry_keeps_the_quiet_that_pts_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``Retry-After`` of two hours is not met with requests after 5, 10 and 20 minutes."""

    async def story(made: Nights) -> None:
        quiet = made.clock.now() + timedelta(seconds=TO_HALF_PAST_TWO_S + 2 * HOUR_S)
        made.ends = [UnavailableError("PTS asks for quiet", not_before=quiet)]
        await anyio.sleep(TO_HALF_PAST_TWO_S + 4 * HOUR_S)

    first, second = nights(monkeypatch, story, "30 2 * * *").begun
    assert 2 * HOUR_S <= second - first <= 2 * HOUR_S + MINUTE_S
    for uniform in (0.0, 0.999):
        wait_s = wait_before_retry_s(
            ExitCode.UNAVAILABLE, 0, until_next_s=3600.0, uniform=uniform, quiet_s=7200.0
        )
        assert wait_s is None  # the next start comes first


@pytest.mark.parametrize("code", sorted(set(ExitCode) - {4, 69, 75}))
def test_only_4_69_and_75_are_retried(code: ExitCode) -> None:
    """For others a person must act, or there is nothing to do."""
    assert wait_before_retry_s(code, 0, until_next_s=None, uniform=0.5) is None


def test_what_becomes_due_during_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs never overlap; of all starts that fall into a run, one is made good after it."""

    async def story(made: Nights) -> None:
        await anyio.sleep(TO_TWENTY_PAST_S + MINUTE_S)
        made.run_s = MINUTE_S
        await anyio.sleep(HOUR_S)

    begun = nights(monkeypatch, story, "*/10 * * * *", run_s=45 * MINUTE_S).begun
    after_s = [0, 45 * MINUTE_S, 50 * MINUTE_S, 60 * MINUTE_S]
    assert [TO_TWENTY_PAST_S + one for one in after_s] == pytest.approx(begun, abs=1)


def test_a_stop_waits_for_the_run_and_begins_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Though others are due."""

    async def story(_made: Nights) -> None:
        await anyio.sleep(MINUTE_S)

    found = nights(monkeypatch, story, "*/10 * * * *", now=True, run_s=HOUR_S)
    assert [0] == found.begun
    assert round(HOUR_S) == found.ended_s
    assert [] == [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
