"""The text of an instant in SQLite."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.times import END_OF_TIME, START_OF_TIME
from worker.utc_time import iso_utc

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=OFFSETS)  # noqa: DTZ001


@given(INSTANTS)
@example(START_OF_TIME)
@example(END_OF_TIME)
@example(datetime(2026, 11, 25, 3, 0, 0, 1000, tzinfo=UTC))
def test_it_is_what_isoformat_gives(at: datetime) -> None:
    """Microseconds always, offset always, so that texts sort as instants do."""
    assert at.astimezone(UTC).isoformat(timespec="microseconds") == iso_utc(at)
