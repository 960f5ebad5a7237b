"""Cron expressions as cron reads them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random
from zoneinfo import ZoneInfo

import anyio
import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers

from tests.simulation.loop import Clock, run_simulated
from worker.errors import ConfigurationError, UnavailableError
from worker.scheduler import run_on_schedule, trigger_of

OSLO = ZoneInfo("Europe/Oslo")
A_SATURDAY = datetime(2026, 11, 28, 12, 34, tzinfo=OSLO)


def days_of(cron: str) -> str:
    """The days of a week on which it fires, Monday first."""
    trigger = trigger_of(cron, "Europe/Oslo")
    days, at = set(), A_SATURDAY
    for _ in range(7):
        found = trigger.get_next_fire_time(None, at + timedelta(seconds=1))
        assert found is not None
        at = found
        if at > A_SATURDAY + timedelta(days=7):
            break
        days.add(at.weekday())
    return "".join("mtwTfsS"[day] for day in sorted(days))


@pytest.mark.parametrize(
    ("weekday", "expected"),
    [
        ("*", "mtwTfsS"),
        ("0", "S"),
        ("7", "S"),
        ("1", "m"),
        ("1-5", "mtwTf"),
        ("0-4", "mtwTS"),
        ("5-7", "fsS"),
        ("mon-fri", "mtwTf"),
        ("FRI-SUN", "fsS"),
        ("sun,3", "wS"),
        ("*/2", "tTsS"),
        ("1-5/2", "mwf"),
        ("2/3", "tf"),
    ],
)
def test_days_of_the_week(weekday: str, expected: str) -> None:
    """Numbers count from Sunday, as in crontab(5), and not from Monday, as in APScheduler."""
    assert expected == days_of(f"30 3 * * {weekday}")


@pytest.mark.parametrize(
    "cron", ["99 3 * * *", "0 25 * * *", "0 3 * * 8", "0 3 * * 5-1", "0 3 * * x", "0 3 * * */0"]
)
def test_no_meaning(cron: str) -> None:
    """What no clock can show is told as a fault of the configuration."""
    with pytest.raises(ConfigurationError, match=r"schedule\.cron"):
        trigger_of(cron, "Europe/Oslo")


def times_of(cron: str, begin: datetime, hours: int) -> list[str]:
    """When it fires, on the wall and with the zone's offset."""
    trigger, times, previous = trigger_of(cron, "Europe/Oslo"), [], None
    now, end = begin.astimezone(UTC), begin.astimezone(UTC) + timedelta(hours=hours)
    while (at := trigger.get_next_fire_time(previous, now)) and at.astimezone(UTC) < end:
        times.append(f"{at:%d %H:%M%z}")
        previous, now = at, at.astimezone(UTC) + timedelta(milliseconds=5)
    return times


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
        ("30 2 * * *", NIGHT_OF_23_H, ["29 03:30+0200", "30 02:30+0200"]),
        ("0 2 * * *", NIGHT_OF_23_H, ["29 03:00+0200", "30 02:00+0200"]),
        ("30 2 * * 0", NIGHT_OF_23_H, ["29 03:30+0200"]),
        ("30 0 * * *", NIGHT_OF_23_H, ["29 00:30+0100", "30 00:30+0200"]),
        ("30 3 * * *", NIGHT_OF_23_H, ["29 03:30+0200", "30 03:30+0200"]),
        ("0 2,3 29 * *", NIGHT_OF_23_H, ["29 03:00+0200"]),
    ],
)
def test_once_a_night_when_the_clocks_change(
    cron: str, begin: datetime, expected: list[str]
) -> None:
    """Neither twice in the night of 25 hours nor never in that of 23, or on the day after."""
    assert expected == times_of(cron, begin, 30)


def test_day_and_weekday_must_both_be_met() -> None:
    """Other than in cron(8), where one is enough: the 25th is a Sunday, the 26th is none."""
    assert ["25 02:30+0200"] == times_of("30 2 25 * 0", NIGHT_OF_25_H, 30)
    assert [] == times_of("30 2 26 * 0", NIGHT_OF_25_H, 24 * 7)


def test_where_the_hour_is_open_hours_count_as_they_pass() -> None:
    """Both hours of the long night have their run; the one that the short night lacks has none."""
    assert ["+0200"] * 3 + ["+0100"] * 3 == [
        at[-5:] for at in times_of("15 * * * *", NIGHT_OF_25_H, 6)
    ]
    assert ["00:15", "01:15", "03:15", "04:15"] == [
        at[3:8] for at in times_of("15 * * * *", NIGHT_OF_23_H, 4)
    ]


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
        fault: what each ends with.
        ended_s: when the schedule had ended.
    """

    clock: Clock
    stop: anyio.Event
    run_s: float
    begun: list[int] = field(default_factory=list)
    fault: Exception | None = None
    ended_s: int = 0

    async def run(self) -> None:
        self.begun.append(round(self.clock.elapsed_s))
        await anyio.sleep(self.run_s)
        if self.fault is not None:
            raise self.fault


def nights(
    monkeypatch: pytest.MonkeyPatch,
    story: Callable[[Nights], Awaitable[None]],
    cron: str,
    *,
    now: bool = False,
    run_s: float = 60.0,
) -> Nights:
    """What came of a schedule, which is stopped when the story is over."""
    clock = Clock(EVENING)
    for module in (schedulers, executors):
        monkeypatch.setattr(module, "datetime", ItsDatetime(clock))

    async def tell(_loop: object) -> Nights:
        made = Nights(clock=clock, stop=anyio.Event(), run_s=run_s)
        async with anyio.create_task_group() as tasks:

            async def schedule() -> None:
                await run_on_schedule(
                    made.run, cron=cron, timezone="Europe/Oslo", stop=made.stop, now=now
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
    """Once a night, neither early nor late; a run that fails changes nothing in that."""

    async def story(made: Nights) -> None:
        made.fault = UnavailableError("PTS is away")
        await anyio.sleep(54 * HOUR_S)

    expected = [round(TO_HALF_PAST_TWO_S + night * 24 * HOUR_S) for night in range(3)]
    assert expected == nights(monkeypatch, story, "30 2 * * *").begun


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
        ("30 2 * * *", 61 * MINUTE_S, 0),
        ("30 2 * * *", 24 * HOUR_S + 10 * MINUTE_S, 1),
        ("*/10 * * * *", 8 * HOUR_S, 1),
    ],
    ids=["within the hour", "too late", "the next night's", "many at once"],
)
def test_a_start_that_was_missed(
    monkeypatch: pytest.MonkeyPatch, cron: str, late_s: float, runs: int
) -> None:
    """A machine that slept makes good its last start, once, if that is no more than an hour ago.

    Timers stand still while it sleeps (timer_create(2), CLOCK_MONOTONIC), the wall clock does not.
    """

    async def story(made: Nights) -> None:
        made.clock.leap_s += TO_HALF_PAST_TWO_S + late_s
        await anyio.sleep(5 * MINUTE_S)

    assert runs == len(nights(monkeypatch, story, cron).begun)


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
