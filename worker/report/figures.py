"""The contents of the report, as value types."""

import enum
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final, TypeAlias

from worker.core.effect import RestrictionGroup
from worker.core.value import Value

DAYS_SHOWN: Final = 92
CHANGE_DAYS: Final = 30
FRESH: Final = timedelta(hours=26)
"""Maximum age of a fresh copy: one day, with slack for a run that took longer."""
_INTERVAL_MAX: Final = timedelta(hours=36)
"""Maximum interval between two successive nights."""
UNKNOWN: Final = "unknown"
"""The group of a code without a declared meaning. It counts as restricting."""
OTHER: Final = "other"
"""The code in the facts for all codes without a declared meaning."""
GROUPS: Final = ("denied", "delayed", "blocked", "shielded", UNKNOWN)


class SnapshotState(enum.StrEnum):
    """How reliable the copy is, the worst state first."""

    EMPTY = "empty"
    """Nothing has been published yet."""
    FUTURE = "future"
    """The last publication is in the future: a clock was or is wrong."""
    OLD = "old"
    """The last full run was published too long ago, or the last publication has no person of the
    cohort."""
    GAPS = "gaps"
    """Some persons are not confirmed, or lines of the last full run's roster could not be read."""
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
    roster_faults: int

    def age(self, now: datetime) -> timedelta:
        """Return the time since the publication."""
        # A clock that was set back must not make a negative age.
        return max(now - (self.published_at or self.started_at), timedelta(0))


class Amount(Value, frozen=True):
    """A number of restrictions, and of their persons."""

    restrictions: int = 0
    persons: int = 0


class NightFacts(Value, frozen=True, kw_only=True):
    """The facts of the last publication of a day in Norway.

    Attributes:
        roster, confirmed, stale: persons. None if they were not counted.
        missing: persons absent from the last full roster. ``roster`` does not include them.
        persons: persons with a restriction in effect, including missing persons.
        groups: restrictions in effect, and open rules for future results, by group.
    """

    publication_no: int
    published_at: datetime
    day: date
    roster: int | None
    confirmed: int | None
    stale: int | None
    missing: int = 0
    failed: Mapping[str, int]
    persons: int
    groups: Mapping[str, Amount]

    def of(self, group: str) -> Amount:
        """Return the amount of a group."""
        return self.groups.get(group, Amount())

    @property
    def pending(self) -> Amount:
        """Rules for future results. They are not in effect."""
        return self.of(RestrictionGroup.PENDING)

    @property
    def total(self) -> Amount:
        """Restrictions in effect, and their persons."""
        amount = sum(self.of(group).restrictions for group in GROUPS)
        return Amount(amount, self.persons)


class CodeKey(Value, frozen=True):
    """The dimensions of a count: group, code and level."""

    group: str
    code: str
    level: str


Week: TypeAlias = Sequence[Amount]
"""Restrictions that were added, changed and removed, with their persons."""


class CohortFacts(Value, frozen=True, kw_only=True):
    """Persons of a cohort, which is a clinic or department.

    Attributes:
        cohort: its name. None for persons without a cohort.
        in_effect: persons with a restriction in effect.
        week: the ``Week`` of its restrictions.
    """

    cohort: str | None
    roster: int
    in_effect: int
    week: Week


class ReportFacts(Value, frozen=True, kw_only=True):
    """The contents of the report.

    Attributes:
        cohort: the cohort to report. None: all persons.
        published: the last published run, full or not.
        last_sync: the last published full run.
        latest: the newest run that was not abandoned.
        nights: the last ``DAYS_SHOWN`` days with a publication, oldest first.
        then: the compared night, ``CHANGE_DAYS`` before the last one or a few days earlier.
        codes: restrictions in effect on the last night, by code.
        codes_then: restrictions in effect on the compared night, by code.
        causes: restrictions in effect on the last night, by cause.
        ages: restrictions in effect by their age in PTS. Keys are codes of ``report_code``.
        ends: delays in effect by the time until their end. Keys as in ``ages``.
        expired: restrictions that PTS still lists after their end, by the time since then. Keys
            as in ``ages``.
        week: changes in the seven days until the last night, by group.
        week_expired: restrictions that ended in these days and that PTS still lists, by group.
        withheld: days on which a run was withheld and none was published.
    """

    made_at: datetime
    state: SnapshotState
    cohort: str | None = None
    published: RunFacts | None
    last_sync: RunFacts | None
    latest: RunFacts | None
    nights: Sequence[NightFacts] = ()
    then: NightFacts | None = None
    codes: Mapping[CodeKey, Amount]
    codes_then: Mapping[CodeKey, Amount]
    causes: Mapping[str, Amount]
    ages: Mapping[str, Amount]
    ends: Mapping[str, Amount]
    expired: Mapping[str, Amount]
    week: Mapping[str, Week]
    week_expired: Mapping[str, Amount]
    cohorts: Sequence[CohortFacts] = ()
    withheld: Sequence[date] = ()

    @property
    def last(self) -> NightFacts:
        """The last night. Needs a publication."""
        return self.nights[-1]

    @property
    def is_cohort_gone(self) -> bool:
        """Whether the last publication has no person of the cohort. All nights are then older."""
        if not self.nights or self.published is None:
            return False
        return self.last.published_at != self.published.published_at

    @property
    def missed(self) -> Sequence[date]:
        """Days without a published or withheld run, between the first and the last night."""
        pairs = list(pairwise(self.nights))
        steps = sorted(later.published_at - night.published_at for night, later in pairs)
        # With weekly runs no day is missed, so the median interval must be about a day.
        if not steps or steps[len(steps) // 2] > _INTERVAL_MAX:
            return ()
        missed = {
            night.day + timedelta(days=day)
            for night, later in pairs
            # In hours, because runs that end around midnight can skip a calendar day.
            if later.published_at - night.published_at > _INTERVAL_MAX
            for day in range(1, (later.day - night.day).days)
        }
        # A withheld day has its own mark in the trend.
        return sorted(missed - set(self.withheld))
