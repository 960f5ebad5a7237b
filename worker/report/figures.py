"""What the report tells, as values."""

import enum
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from worker.core.model import RunStatus

AGES: Final = (
    ("under 1 day", timedelta(days=1)),
    ("1 to 2 days", timedelta(days=2)),
    ("2 to 7 days", timedelta(days=7)),
    ("7 to 30 days", timedelta(days=30)),
    ("over 30 days", timedelta.max),
    ("never", None),
)
"""The classes of the freshness histogram: their names and upper ends; ``None`` is never read."""

DAYS_SHOWN: Final = 90
RUNS_SHOWN: Final = 30
STALE_SHOWN: Final = 100


class SnapshotState(enum.StrEnum):
    """How far the copy can be relied upon, the worst first."""

    EMPTY = "empty"
    """Nothing has been published yet."""
    OLD = "old"
    """The last full run was published too long ago."""
    GAPS = "gaps"
    """Some persons or areas could not be read by the last run that tried."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run of the ledger."""

    run_id: int
    kind: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    published_at: datetime | None
    exit_code: int | None
    reason: str | None
    persons_total: int
    persons_complete: int
    persons_stale: int
    rows_opened: int
    rows_changed: int
    rows_closed: int
    requests: int
    retries: int

    def age(self, now: datetime) -> timedelta:
        """How long ago it was published."""
        return max(now - (self.published_at or self.started_at), timedelta(0))

    @property
    def duration_s(self) -> float | None:
        """Seconds from its start to its end, pauses between its turns included.

        ``None`` while it may go on, and for an abandoned run, whose end says when it was undone.
        """
        if self.finished_at is None or self.status == RunStatus.ABANDONED:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaFacts:
    """One area as published.

    Attributes:
        restrictions: those in effect at the report's time.
        holders: persons who have one in effect.
        open: all that stand in PTS, in effect or not.
        restricting_nothing: those among them whose code restricts nothing.
        ended: those that restricted, and whose time is over.
        persons: persons whose area was ever read or tried.
        persons_stale: those among them whose picture is not confirmed by the last run.
        oldest_at: when the person-area longest without confirmation was last confirmed.
        ages: person-areas by the age of their last confirmation, in the order of ``AGES``.
    """

    name: str
    restrictions: int
    holders: int
    open: int
    restricting_nothing: int
    ended: int
    persons: int
    persons_stale: int
    oldest_at: datetime | None
    ages: tuple[int, ...]

    @property
    def not_begun(self) -> int:
        """The rest of those that stand: their time is still to come."""
        return self.open - self.restricting_nothing - self.ended - self.restrictions


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCount:
    """Restrictions in effect of one code, or of one type and level."""

    code: str
    level: str = ""
    restrictions: int
    stale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayFacts:
    """When delayed access ends, of the open restrictions that name a time.

    Attributes:
        over: the time has passed, though PTS still lists the restriction.
        within_7_days, within_30_days: it ends that soon; the second holds the first.
        later: it ends after 30 days.
        indefinite: PTS's "never".
    """

    over: int
    within_7_days: int
    within_30_days: int
    later: int
    indefinite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """What publications of one day (Norway) changed in an area, and what stood open at its end."""

    day: date
    area: str
    added: int
    changed: int
    removed: int
    open_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleFacts:
    """One person's one area that the last run could not confirm.

    Attributes:
        label: the organisation's own reference if it was asked for, else the beginning of the
            person's key; empty where that would tell an identifier.
    """

    label: str
    area: str
    last_confirmed_at: datetime | None
    failing_since: datetime | None
    failure_kind: str | None
    failed_runs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """Everything that the report tells.

    Attributes:
        made_at: when it was read.
        published: the last published run, full or not.
        last_sync: the last published full run.
        runs: the last runs, newest first.
        persons, persons_stale: counted over all areas.
        days: changes of the last ``DAYS_SHOWN`` days, oldest first, areas in order.
        first_day: the day of the first publication, whose additions are the whole first reading.
    """

    made_at: datetime
    state: SnapshotState
    published: RunFacts | None
    last_sync: RunFacts | None
    runs: tuple[RunFacts, ...]
    persons: int
    persons_stale: int
    areas: tuple[AreaFacts, ...]
    safety: tuple[CodeCount, ...]
    delays: DelayFacts
    privacy: tuple[CodeCount, ...]
    days: tuple[DayFacts, ...]
    first_day: date | None
    stale: tuple[StaleFacts, ...]

    @property
    def age(self) -> timedelta | None:
        """How long ago the last publication was."""
        return None if self.published is None else self.published.age(self.made_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands whatever the next run does; telemetry takes it after a run.

    Attributes:
        last_success_at: end of the last run that published without a gap.
        last_published_at: the last publication.
        persons_stale: persons with an area that the last run could not confirm.
    """

    last_success_at: datetime | None
    last_published_at: datetime | None
    persons_stale: int
