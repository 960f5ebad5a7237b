"""Times in the formats of .NET, clock tolerance, and readable durations."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

END_OF_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Replaces each time in the year 9999, PTS's "maximum DateTime", which means never
(pts reference, section 0, point 5). Not ``datetime.max``, which asyncpg stores as infinity."""

START_OF_TIME: Final = datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC)
"""Replaces a time before the year 1 in UTC, such as .NET's ``DateTime.MinValue`` with an offset."""

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""Maximum difference between the clocks of this machine, of a run and of the database."""

_FIRST_YEAR: Final = 1
_LAST_YEAR: Final = 9999

_ISO_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)

_DURATION_EXAMPLES: Final = "30s, 15m, 12h, 1d or 1h30m"

_DURATION: Final = re.compile(
    r"(?:(?P<days>\d+)d)?\s*(?:(?P<hours>\d+)h)?\s*"
    r"(?:(?P<minutes>\d+)m)?\s*(?:(?P<seconds>\d+(?:\.\d+)?)s)?",
    re.ASCII | re.IGNORECASE,
)
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60))


def parse_time(text: str, *, naive_zone: tzinfo | None = None) -> datetime:
    """Parse an ISO 8601 time with up to nine fractional digits, truncated to six.

    A date alone is midnight. A time in or after the year 9999 in UTC is ``END_OF_TIME``. A time
    before the year 1 is ``START_OF_TIME``.

    Args:
        naive_zone: the zone of a time without an offset.

    Raises:
        ValueError: the text is not a time, or has no offset and no zone is declared. The message
            does not contain the text.
    """
    # The pattern comes first: `fromisoformat` also accepts other formats, such as week dates.
    if _ISO_TIME.fullmatch(text) is None:
        raise ValueError("not an ISO 8601 time")
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("not a valid date or time") from None
    # Nearly all times take this fast path. The others need conversion and limits.
    if time.tzinfo is UTC and _FIRST_YEAR < time.year < _LAST_YEAR:
        return time
    # Checked before the conversion, which would overflow for a zone west of Greenwich.
    if time.year == _LAST_YEAR:
        return END_OF_TIME
    if time.tzinfo is None:
        if naive_zone is None:
            raise ValueError("a time without an offset; declare `naive_times` in the contract")
        time = time.replace(tzinfo=naive_zone)
    try:
        return _clamped(time.astimezone(UTC))
    except OverflowError:
        return START_OF_TIME


def is_in_the_future(at: datetime, now: datetime) -> bool:
    """Whether a time is so far in the future that a clock is or was wrong."""
    return at - now > CLOCK_TOLERANCE


def _clamped(at: datetime) -> datetime:
    return END_OF_TIME if at.year == _LAST_YEAR else max(at, START_OF_TIME)


def parse_duration(text: str) -> timedelta:
    """Parse a duration: units from large to small, each at most once.

    A number without a unit is an error.

    Raises:
        ValueError: the text is not a duration. The message does not contain the text.
    """
    match = _DURATION.fullmatch(text.strip())
    units = match.groupdict() if match else {}
    parts = {unit: float(number) for unit, number in units.items() if number}
    if not parts:
        raise ValueError(f"is not a duration; write it like {_DURATION_EXAMPLES}")
    try:
        return timedelta(**parts)
    except OverflowError:
        raise ValueError("is too long") from None


def format_duration(duration: timedelta) -> str:
    """Format a duration in the syntax of ``parse_duration``: ``1d2h``, ``1h30m``, ``1.5s``.

    Raises:
        ValueError: the duration is negative.
    """
    if duration < timedelta(0):
        raise ValueError("a duration must not be negative")
    seconds = duration.days * 86_400 + duration.seconds
    text = ""
    for unit, length_s in _UNITS:
        count, seconds = divmod(seconds, length_s)
        text += f"{count}{unit}" if count else ""
    if duration.microseconds:
        return text + f"{seconds}.{duration.microseconds:06d}".rstrip("0") + "s"
    return text + f"{seconds}s" if seconds or not text else text
