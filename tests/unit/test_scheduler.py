"""Cron expressions as cron reads them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from worker.errors import ConfigurationError
from worker.scheduler import trigger_of

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
