"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.times import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("1d 2h 3m 4s", 93_784), ("1.5s", 1.5), (" 5M ", 300)],
)
def test_reads(text, seconds):
    """Units from large to small."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "30", "-5s", "5", "h", "1h1h", "30m1h", "5x", "5ms", "PT1H", "1.5h", "٣s", "s5"],
)
def test_refuses(text):
    """A bare number, a sign, months, a repeated or misplaced unit are no durations."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_refuses_what_cannot_be_reckoned_with():
    """An immense duration is refused, not an overflow; a negative one has no form."""
    with pytest.raises(ValueError, match="is too long"):
        parse_duration("9" * 30 + "d")
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=12), "12h"),
        (timedelta(days=1, seconds=1), "1d1s"),
        (timedelta(minutes=1, milliseconds=250), "1m0.25s"),
    ],
)
def test_writes(duration, text):
    """The shortest usual form."""
    assert format_duration(duration) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9_999)))
def test_round_trip(duration):
    """What is written reads back as the same duration."""
    assert parse_duration(format_duration(duration)) == duration
