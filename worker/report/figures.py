"""The contents of the report, as values."""

import enum
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

from worker.core.model import RunStatus
from worker.core.value import Value

DAYS_SHOWN: Final = 92
RUNS_SHOWN: Final = 12
WEEKS_SHOWN: Final = 12
_A_NIGHT_LATER: Final = timedelta(hours=36)
"""The next night begins by then."""
CHANGE_DAYS: Final = 30
UNKNOWN: Final = "unknown"
"""The group of a code that the worker does not know; it counts as restricting."""
GROUPS: Final = ("denied", "delayed", "blocked", "shielded", UNKNOWN)


class SnapshotState(enum.StrEnum):
    """How reliable the copy is, the worst state first."""

    EMPTY = "empty"
    """Nothing has been published yet."""
    FUTURE = "future"
    """The last publication is in the future: a clock was or is wrong."""
    OLD = "old"
    """The last full run was published too long ago."""
    GAPS = "gaps"
    """The last run could not read some persons or areas."""
    COMPLETE = "complete"


class RunFacts(Value, frozen=True, kw_only=True):
    """One run of the ledger."""

    run_id: int
    kind: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    published_at: datetime | None
    exit_code: int | None
    persons_total: int
    requests: int

    def age(self, now: datetime) -> timedelta:
        """Time since the publication."""
        return max(now - (self.published_at or self.started_at), timedelta(0))

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, with the pauses between its run attempts.

        ``None`` for an open run, and for an abandoned one, whose end is when it was undone.
        """
        if self.finished_at is None or self.status == RunStatus.ABANDONED:
            return None
        return (self.finished_at - self.started_at).total_seconds()


class Amount(Value, frozen=True):
    """A number of restrictions, and the least number of persons who have them."""

    restrictions: int = 0
    persons: int = 0


class NightFacts(Value, frozen=True, kw_only=True):
    """The facts of the last publication of a day in Norway.

    Attributes:
        roster, confirmed, stale: persons; None if they were not counted.
    """

    publication_no: int
    published_at: datetime
    day: date
    roster: int | None
    confirmed: int | None
    stale: int | None
    failed: Mapping[str, int]
    persons_in_effect: int
    groups: Mapping[str, Amount]

    @property
    def in_effect(self) -> int:
        """Restrictions in effect."""
        return sum(amount.restrictions for amount in self.groups.values())


class CodeKey(Value, frozen=True):
    """The key of counts: area, code and level, with the group of the code."""

    group: str
    area: str
    code: str
    level: str


class CodeFacts(Value, frozen=True, kw_only=True):
    """Restrictions of one code: those open, and those in effect."""

    open: Amount
    in_effect: Amount


class EndFacts(Value, frozen=True, kw_only=True):
    """When delays in effect end, and restrictions whose time is over or has not begun.

    What ends is counted from rows, and nothing if somebody was erased since the publication.

    Attributes:
        weeks: those that end in each of the next weeks, from the publication on.
        not_now: restrictions of any group that are not in effect because of their time.
    """

    weeks: Sequence[Amount]
    later: Amount
    indefinite: Amount
    not_now: Amount


class CohortFacts(Value, frozen=True, kw_only=True):
    """Persons of a cohort: a clinic or department; "" for those without one.

    Attributes:
        in_effect: those with a restriction in effect.
    """

    cohort: str
    roster: int
    in_effect: int


class DurationFacts(Value, frozen=True, kw_only=True):
    """How long restrictions of an area were open, if they came and went since the copy began."""

    area: str
    amount: Amount
    median_days: float


class ReportFacts(Value, frozen=True, kw_only=True):
    """The contents of the report.

    Attributes:
        published: the last published run, full or not.
        last_sync: the last published full run.
        runs: the last runs, newest first.
        nights: the last ``DAYS_SHOWN`` days with a publication, oldest first.
        then: the night ``CHANGE_DAYS`` before the last one, or a few days earlier.
        codes: by code, of the last night.
        codes_then: the same of ``then``.
        withheld: the days of those nights on which a run was withheld and none published.
        is_altered: somebody was erased since the last night, so that what is counted from rows
            (ends, durations) is not of that night and is left out.
    """

    made_at: datetime
    state: SnapshotState
    published: RunFacts | None
    last_sync: RunFacts | None
    runs: Sequence[RunFacts]
    nights: Sequence[NightFacts] = ()
    then: NightFacts | None = None
    codes: Mapping[CodeKey, CodeFacts]
    codes_then: Mapping[CodeKey, CodeFacts]
    ends: EndFacts
    cohorts: Sequence[CohortFacts] = ()
    durations: Sequence[DurationFacts] = ()
    withheld: Sequence[date] = ()
    is_altered: bool = False

    @property
    def last(self) -> NightFacts:
        """The last night; call it only if something is published."""
        return self.nights[-1]

    @property
    def missed(self) -> Sequence[date]:
        """Days between the nights on which nothing was published, nor withheld.

        None unless most nights are about a day after the one before: somebody who publishes once a
        week misses no day. Nor does a run that ends now before and now after midnight.
        """
        pairs = list(pairwise(self.nights))
        steps = sorted(later.published_at - night.published_at for night, later in pairs)
        if not steps or steps[len(steps) // 2] > _A_NIGHT_LATER:
            return ()
        missed = {
            night.day + timedelta(days=day)
            for night, later in pairs
            if later.published_at - night.published_at > _A_NIGHT_LATER
            for day in range(1, (later.day - night.day).days)
        }
        return sorted(missed - set(self.withheld))
