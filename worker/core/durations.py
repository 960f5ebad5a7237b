"""Parses and formats durations: ``30s``, ``15m``, ``12h``, ``1d``, ``1h30m``, ``PT1H``."""

import re
from datetime import timedelta
from typing import Final

EXAMPLES: Final = "30s, 15m, 12h, 1d, 1h30m or PT1H"

_COMPACT: Final = re.compile(
    r"(?:(?P<weeks>\d+)w)?\s*(?:(?P<days>\d+)d)?\s*(?:(?P<hours>\d+)h)?\s*"
    r"(?:(?P<minutes>\d+)m(?!s))?\s*(?:(?P<seconds>\d+(?:\.\d+)?)s)?\s*(?:(?P<milliseconds>\d+)ms)?",
    re.ASCII | re.IGNORECASE,
)
_ISO: Final = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII | re.IGNORECASE,
)
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60))


def parse_duration(text: str) -> timedelta:
    """Parse a duration: units from large to small, each at most once, or ISO 8601 without months.

    A number without a unit is refused.

    Raises:
        ValueError: it is not a duration; the message does not repeat the text.
    """
    stripped = text.strip()
    pattern = _ISO if stripped[:1] in {"P", "p"} else _COMPACT
    match = pattern.fullmatch(stripped)
    parts = {unit: float(n) for unit, n in match.groupdict().items() if n} if match else {}
    if not parts:
        raise ValueError(f"is not a duration; write it like {EXAMPLES}")
    try:
        return timedelta(**parts)
    except OverflowError:
        raise ValueError("is too long a duration") from None


def format_duration(duration: timedelta) -> str:
    """Format a duration in the syntax of ``parse_duration``: ``1d2h``, ``1h30m``, ``1.5s``.

    Raises:
        ValueError: the duration is negative.
    """
    if duration < timedelta(0):
        raise ValueError("a duration must not be negative")
    rest = duration.days * 86_400 + duration.seconds
    text = ""
    for unit, length_s in _UNITS:
        count, rest = divmod(rest, length_s)
        text += f"{count}{unit}" if count else ""
    if duration.microseconds:
        return text + f"{rest}.{duration.microseconds:06d}".rstrip("0") + "s"
    return text + f"{rest}s" if rest or not text else text
