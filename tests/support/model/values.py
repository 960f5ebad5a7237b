"""What the store holds and what a run reads, as plain values."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SAFETY, PRIVACY = "patient-safety", "patient-privacy"
AREAS = (SAFETY, PRIVACY)
Row = tuple[str, str, str]
"""An area, a person's key and a restriction's key."""
PersonArea = tuple[str, str]
"""A person's key and an area."""


class BrokenPromiseError(AssertionError):
    """The database shows what it must not, or does not show what it must."""


def expect(condition: object, text: str) -> None:
    """Raise if a promise is broken."""
    if not condition:
        raise BrokenPromiseError(text)


@dataclass(frozen=True, kw_only=True)
class Content:
    """A restriction as it was read: what it said and since when the worker knows it."""

    said: Any
    first_seen_at: datetime
    observed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Version:
    """A restriction's content for as long as it was published."""

    row: Row
    content: Content
    opened_run: int
    closed_run: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The read of a person's area in a run; no rows if it failed."""

    read_at: datetime | None
    rows: Mapping[str, Content] | None = None
    pages: int | None = None

    @property
    def is_complete(self) -> bool:
        return self.rows is not None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What readers are shown of a person's area."""

    is_stale: bool
    confirmed_at: datetime | None = None
    record_count: int | None = None
    pages: int | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An area that cannot be read at present: how, since when, and for how many publications."""

    kind: str
    at: datetime
    since: datetime
    runs: int


@dataclass(kw_only=True)
class Run:
    """A line of the ledger, and all that the run has read while it is open.

    Attributes:
        requests, retries: that were noted of it.
    """

    run_id: int
    kind: str
    areas: tuple[str, ...]
    status: str = "running"
    exit_code: int | None = None
    number: int | None = None
    published_at: datetime | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    readings: dict[PersonArea, Reading] = field(default_factory=dict)
    refs: dict[str, str | None] = field(default_factory=dict)
    requests: int = 0
    retries: int = 0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What the attempt that publishes a run knows besides what was read.

    Attributes:
        roster: the persons on it.
        is_full_roster: who is not on it has departed.
        roster_errors: lines of it that cannot be read.
        not_sent: its persons whom PTS must not be asked about.
    """

    roster: Collection[str]
    is_full_roster: bool
    roster_errors: int = 0
    not_sent: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a publication would do, and the totals that it deserves.

    Attributes:
        roster: the persons on it; None if it is no full one.
        missing: persons whom a full roster does not name for the first time.
    """

    roster: Collection[str] | None
    readings: Mapping[PersonArea, Reading]
    came: Mapping[Row, Content]
    changed: Mapping[Row, Content]
    went: frozenset[Row]
    departing: frozenset[str]
    missing: frozenset[str]
    totals: Mapping[str, int]
    facts: Mapping[str, Any]
