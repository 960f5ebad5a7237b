"""Parses times, as .NET writes them, into aware UTC datetimes; and clocks that are wrong."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

END_OF_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The value of every time in the year 9999, PTS's "maximum DateTime", which means never
(pts reference, section 0, point 5). Not ``datetime.max``, which asyncpg stores as infinity."""

START_OF_TIME: Final = datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC)
"""The value of a time before the year 1 in UTC, e.g. .NET's minimum with an offset."""

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far the clocks of this machine, a run's and the database's may differ."""

_YEAR_OF_START: Final = 1
_YEAR_OF_NEVER: Final = 9999

_FORM: Final = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)


def parse_time(text: str, *, naive: tzinfo | None = None) -> datetime:
    """Parse an ISO 8601 time with up to nine fractional digits, truncated to six.

    A date alone is midnight. A time in or after the year 9999 in UTC is ``END_OF_TIME``; a time
    before the year 1 is ``START_OF_TIME``.

    Args:
        naive: the zone of a time without one.

    Raises:
        ValueError: the text is not such a time, or it has no zone and none is declared. The
            message does not hold the text.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError("not an ISO 8601 time")
    try:
        read = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("not a valid date or time") from None
    if read.tzinfo is UTC and _YEAR_OF_START < read.year < _YEAR_OF_NEVER:
        return read
    if read.year == _YEAR_OF_NEVER:
        return END_OF_TIME
    if read.tzinfo is None:
        if naive is None:
            raise ValueError("a time without an offset; declare naive_times in the contract")
        read = read.replace(tzinfo=naive)
    try:
        return _clamped(read.astimezone(UTC))
    except OverflowError:
        return START_OF_TIME


def is_of_the_future(at: datetime, now: datetime) -> bool:
    """Whether a time lies further ahead than clocks may differ: one of them was or is wrong."""
    return at - now > CLOCK_TOLERANCE


def _clamped(at: datetime) -> datetime:
    return END_OF_TIME if at.year == _YEAR_OF_NEVER else max(at, START_OF_TIME)
