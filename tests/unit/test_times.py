"""Times as .NET writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.times import END_OF_TIME, START_OF_TIME, parse_time

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00z", NOON),
        ("2026-03-01T13:00:00+01:00", NOON),
        ("2026-03-01T12:00Z", NOON),
        ("2026-03-01 12:00:00", NOON),
        ("2026-03-01", NOON.replace(hour=0)),
        (
            "2026-03-01T12:00:00.1234567Z",
            NOON.replace(microsecond=123_456),
        ),
        ("2026-03-01T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("9999-12-31T23:59:59.9999999", END_OF_TIME),
        ("9999-12-31T23:59:59.9999999-01:00", END_OF_TIME),
        ("9999-01-01", END_OF_TIME),
        ("9998-12-31T23:30:00-01:00", END_OF_TIME),
        ("0001-01-01T00:00:00", START_OF_TIME),
        ("0001-01-01T00:00:00+01:00", START_OF_TIME),
    ],
)
def test_time_is_read(text, expected):
    """Fractions beyond microseconds are cut, and the year 9999 is never."""
    assert parse_time(text, naive_zone=UTC) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "never", "20260301", "2026-W09-7", "2026-03-01T", "2026-03-01T24:00:00"),
        *("2026-02-30", "2026-03-01T12:00:00+25:00", "2026-03-01T12:00:00.Z"),
        *("2026-03-01T12:00:00Z ", "\u0662026-03-01"),
    ],
)
def test_what_is_no_time_is_refused(text):
    """A text in another form, or a day that no calendar has, is an error without the text."""
    with pytest.raises(ValueError, match=r"^not a") as caught:
        parse_time(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["2026-03-01 12:00:00", "2026-03-01"])
def test_a_time_without_a_zone(text):
    """Where no zone is declared it is refused; the year 9999 needs none."""
    with pytest.raises(ValueError, match="without an offset"):
        parse_time(text)
    assert parse_time("9999-12-31T23:59:59.9999999") == END_OF_TIME


@given(
    at=st.datetimes(
        min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(9998, 12, 30),  # noqa: DTZ001
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_every_time_survives_its_text(at):
    """A time written with any offset is read as the same instant in UTC."""
    parsed = parse_time(at.isoformat())
    assert (parsed, parsed.tzinfo) == (at.astimezone(UTC), UTC)


@given(text=st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text):
    """No text makes the reader fail in another way."""
    try:
        parsed = parse_time(text, naive_zone=UTC)
    except ValueError:
        return
    assert parsed.tzinfo == UTC
