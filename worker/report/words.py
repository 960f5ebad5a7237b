"""What codes, states and times are called in the report."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from worker.errors import ExitCode

DELAYED: Final = "delayed"
DENIED: Final = "denied"
OTHER: Final = "other"

MEANINGS: Final[Mapping[str, str]] = {
    "N": "normal, no restriction",
    "NORU": "delayed for the citizen until a set time",
    "NORS": "blocked by the citizen towards health personnel",
    "NORN_FFL": "denied: danger to life or serious harm to health",
    "NORN_KUT": "denied: clearly inadvisable for someone close",
    "NORN_EPO": "denied: the patient's own wish, not shown electronically",
    "NORN_ALL": "denied for all documents",
    "NORN_FOR": "older than the date when automatic access began",
    "NORN_FORANS": "denied to holders of parental responsibility",
    "NORN_UNGDOM": "denied to youth of 12 to 16 years; parents may see",
    "NORN_FFH": "denied: danger to health personnel",
    "NORN_FPB": "denied: sound treatment of the patient",
    "NORN_DUP": "duplicate document",
    "NORN_ANG": "denied: other grounds",
}
"""Code system 9603, "Sperring og nekting av dokumenter" (pts reference, 3.2)."""

AREA_TITLES: Final[Mapping[str, str]] = {
    "patient-safety": "Patient safety",
    "patient-privacy": "Patient privacy",
}

ENDINGS: Final[Mapping[int, str]] = {
    ExitCode.OK: "complete",
    ExitCode.GAPS: "with gaps",
    ExitCode.WITHHELD: "withheld: a person decides",
    ExitCode.DATA_CONTRACT: "not understood: roster or PTS",
    ExitCode.UNAVAILABLE: "a service was unavailable",
    ExitCode.BUG: "a bug",
    ExitCode.STOPPED: "stopped",
    ExitCode.REFUSED: "refused by HelseID or PTS",
    ExitCode.CONFIGURATION: "configuration",
}

_TEXT_MAX: Final = 60


def group_of(code: str) -> str:
    """Delayed, denied or other: PTS's list is open, so an unknown code is other."""
    if code == "NORU":
        return DELAYED
    return DENIED if code.startswith(("NORN_", "NORN-")) or code == "NORN" else OTHER


def meaning_of(code: str) -> str:
    """What the code says, in plain words."""
    return MEANINGS.get(code.replace("-", "_"), "not in the code list" if code else "")


def short(text: str) -> str:
    """Text from PTS, cut where it would break the page; a word for none."""
    if not text:
        return "(none)"
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"


def area_title(name: str) -> str:
    """The area as a heading."""
    return AREA_TITLES.get(name, name)


def ago(age: timedelta) -> str:
    """``3 h``, ``2 days``: as exact as a reader needs."""
    minutes = int(age.total_seconds() // 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h"
    return f"{hours // 24} days"


def lasted(seconds: float | None) -> str:
    """A duration as ``1 h 05 min``, ``4 min 10 s`` or ``7 s``."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def utc(at: datetime) -> str:
    """``2026-11-24 02:31 UTC``."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def local(at: datetime, zone: ZoneInfo) -> str:
    """The same in the zone: with the date only where it is another."""
    there = at.astimezone(zone)
    form = "%H:%M %Z" if there.date() == at.astimezone(UTC).date() else "%Y-%m-%d %H:%M %Z"
    return there.strftime(form)


def number(value: float) -> str:
    """An amount with narrow spaces between thousands; no fraction that says nothing."""
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return text.replace(",", "\u202f")
