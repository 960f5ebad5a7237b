"""Cron expressions as cron reads them."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.clock import NIGHT_OF_23_H, NIGHT_OF_25_H, OSLO
from worker.scheduler import CronSimTrigger


def next_start(cron: str, after: datetime) -> datetime | None:
    """The first one after a time."""
    found: datetime | None = CronSimTrigger(cron, "Europe/Oslo").get_next_fire_time(after, after)
    return found


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
        ("1-5", [2, 3, 4, 5, 6]),
        ("sun,3", [4, 8]),
    ],
)
def test_days_of_the_week(weekday: str, expected: list[int]) -> None:
    """Numbers count from Sunday, as in crontab(5), and not from Monday, as in APScheduler."""
    monday = datetime(2026, 11, 2, tzinfo=OSLO)
    assert days_of(f"30 3 * * {weekday}", monday, 7) == expected


@pytest.mark.parametrize(
    ("cron", "begin", "expected"),
    [
        ("30 2 * * *", NIGHT_OF_25_H, ["25 02:30+0200", "26 02:30+0100"]),
        ("30 3 * * *", NIGHT_OF_25_H, ["25 03:30+0100", "26 03:30+0100"]),
        ("0 2,3 25 * *", NIGHT_OF_25_H, ["25 02:00+0200", "25 03:00+0100"]),
        ("30 2 * * *", NIGHT_OF_23_H, ["29 03:00+0200", "30 02:30+0200"]),
        ("30 3 * * *", NIGHT_OF_23_H, ["29 03:30+0200", "30 03:30+0200"]),
    ],
)
def test_once_a_night_when_the_clocks_change(
    cron: str, begin: datetime, expected: list[str]
) -> None:
    """Neither twice in the night of 25 hours nor never in that of 23, or on the day after."""
    assert starts(cron, begin, 30) == expected
