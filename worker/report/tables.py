"""Tables as values: ``templates/parts.html`` makes them HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from worker.report.words import local, utc


@dataclass(frozen=True, slots=True)
class Cell:
    """Text with smaller text below it.

    Attributes:
        instant: the time that ``text`` shows, for machines (HTML, 4.5.14 "The time element").
    """

    text: str
    small: str = ""
    instant: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; its first ``text`` columns hold text, the others numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    text: int = 1


def when(at: datetime | None, zone: ZoneInfo) -> str | Cell:
    """A time: UTC, and below it the local one."""
    if at is None:
        return "never"
    instant = at.astimezone(UTC).isoformat(timespec="seconds")
    return Cell(utc(at), local(at, zone), instant)
