"""The contents of the report, as values."""

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
"""A day, and slack for a run that took longer: a copy that is older is out of date."""
_A_NIGHT_LATER: Final = timedelta(hours=36)
"""The next night begins by then."""
UNKNOWN: Final = "unknown"
"""The group of a code that the worker does not know; it counts as restricting."""
OTHER: Final = "other"
"""The code in the facts for any that the worker does not know."""
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
        """Time since the publication."""
        return max(now - (self.published_at or self.started_at), timedelta(0))


class Amount(Value, frozen=True):
    """A number of restrictions, and of the persons who have them."""

    restrictions: int = 0
    persons: int = 0

    def joined(self, other: "Amount") -> "Amount":
        """Both together. Persons who have both count once, so there are at least this many."""
        return Amount(self.restrictions + other.restrictions, max(self.persons, other.persons))


class NightFacts(Value, frozen=True, kw_only=True):
    """The facts of the last publication of a day in Norway.

    Attributes:
        roster, confirmed, stale: persons; None if they were not counted.
        missing: persons whom the last full roster did not name. They are not in ``roster``.
        persons: those with a restriction in effect, missing persons included.
        groups: restrictions in effect; of rules for results to come those that stand.
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
        """What it has of a group."""
        return self.groups.get(group, Amount())

    @property
    def pending(self) -> Amount:
        """Rules for results to come; they are not in effect."""
        return self.of(RestrictionGroup.PENDING)

    @property
    def total(self) -> Amount:
        """Restrictions in effect, and the persons who have one."""
        amount = sum(self.of(group).restrictions for group in GROUPS)
        return Amount(amount, self.persons)


class CodeKey(Value, frozen=True):
    """The key of counts: code and level, with the group of the code."""

    group: str
    code: str
    level: str


Week: TypeAlias = Sequence[Amount]
"""Restrictions that were added, changed and removed, with the persons who had them."""


class CohortFacts(Value, frozen=True, kw_only=True):
    """Persons of a cohort: a clinic or department; None for those without one.

    Attributes:
        in_effect: those with a restriction in effect.
        week: ``Week`` of its restrictions.
    """

    cohort: str | None
    roster: int
    in_effect: int
    week: Week


class ReportFacts(Value, frozen=True, kw_only=True):
    """The contents of the report.

    Attributes:
        cohort: the cohort that the report is about; None: all persons.
        published: the last published run, full or not.
        last_sync: the last published full run.
        latest: the newest run that was not abandoned.
        nights: the last ``DAYS_SHOWN`` days with a publication, oldest first.
        then: the night ``CHANGE_DAYS`` before the last one, or a few days earlier.
        codes: what is in effect by code, of the last night.
        codes_then: the same of ``then``.
        causes: what is in effect by how it came about, of the last night.
        ages: what is in effect by its age in PTS; keys are those of ``report_code``.
        ends: delays in effect by when they end, likewise.
        expired: what PTS still lists after its end, by the time since then, likewise.
        week: by group, in the seven days until the last night.
        week_expired: what PTS still lists and what ended in these days, by group.
        withheld: the days of those nights on which a run was withheld and none published.
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
