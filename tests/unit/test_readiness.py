"""``/readyz`` of ``schedule``: when its publication is too old."""

from datetime import UTC, datetime

from tests.support.clock import OSLO
from worker.cli.readiness import is_overdue


def test_one_start_that_failed_is_tolerated() -> None:
    """Two are not."""
    published = datetime(2026, 3, 26, 5, tzinfo=OSLO).astimezone(UTC)
    before, now = (datetime(2026, 3, 28, hour, tzinfo=OSLO).astimezone(UTC) for hour in (2, 4))
    assert not is_overdue(published, before, cron="30 3 * * *", timezone="Europe/Oslo")
    assert is_overdue(published, now, cron="30 3 * * *", timezone="Europe/Oslo")
