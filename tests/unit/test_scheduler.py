"""Cron expressions as cron reads them."""

from datetime import datetime, timedelta
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
        at = trigger.get_next_fire_time(None, at + timedelta(seconds=1))
        if at is None or at > A_SATURDAY + timedelta(days=7):
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
