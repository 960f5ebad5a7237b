"""Values that describe a run: handle, progress, batch results, publication and report."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from worker.core.diff import Unconfirmed
from worker.core.display import listed
from worker.core.model import RunKind, RunStatus
from worker.core.value import Value
from worker.errors import ExitCode, FailureKind

_PLACES_MAX: Final = 5
"""Maximum number of lines of the roster that a warning names."""
PASSES: Final = 3
"""Maximum number of passes over the roster in one attempt."""


def exit_code_of(totals: Mapping[str, int]) -> ExitCode:
    """The exit code of a published run: 3 for any failure or roster error."""
    is_incomplete = totals["areas_failed"] or totals["roster_faults"]
    return ExitCode.GAPS if is_incomplete else ExitCode.OK


class RunHandle(Value, frozen=True, kw_only=True):
    """The run of this process.

    Attributes:
        run_id: the run's number, stored in every row it writes.
        attempt: the number of this process's attempt at the run. A continued run has several.
        areas: the areas to read.
        is_continued: an earlier process started the run.
        answered: areas with a complete read in a publication, or in an earlier attempt at this run.
        answered_with_record: areas with such a read that had a record.
        requests_before, retries_before: totals of the earlier attempts.
    """

    run_id: int
    attempt: int
    kind: RunKind
    areas: tuple[str, ...]
    started_at: datetime
    is_continued: bool = False
    answered: frozenset[str] = frozenset()
    answered_with_record: frozenset[str] = frozenset()
    requests_before: int = 0
    retries_before: int = 0

    def pass_no(self, number: int) -> int:
        """The number of a pass of this attempt (1 to 3), counted over all attempts at the run."""
        return (self.attempt - 1) * PASSES + number


class AreaDraft(Value, frozen=True, kw_only=True):
    """The draft of one area of one person, without its changes.

    Attributes:
        records: number of records in the complete read, if there is one.
        first: the first read, if a second read must confirm it.
        failure: the kind of failure of the last read, if that failed. ``first`` stays.
        retry_at: the end of the pause that PTS asked for, if it did.
    """

    records: int = 0
    first: Unconfirmed | None = None
    failure: FailureKind | None = None
    retry_at: datetime | None = None

    @property
    def is_read(self) -> bool:
        """Whether this run has a complete read."""
        return self.failure is None or self.first is not None


class PersonDraft(Value, frozen=True, kw_only=True):
    """The drafts of one person.

    Attributes:
        pass_no: the last pass with the person on the roster, or with a read of an area.
        cohort: the cohort on the roster line that was read.
    """

    pass_no: int
    cohort: str | None = None
    areas: Mapping[str, AreaDraft] = {}


class Pass(Value, frozen=True, kw_only=True):
    """One pass over the roster.

    The first pass reads every person. The second and third confirm first reads of the pass before
    and repeat its failures.

    Attributes:
        number: 1, 2 or 3.
        pass_no: ``number``, counted over all attempts (``RunHandle.pass_no``).
        areas: the areas that are not given up.
        begins_at: the earliest time of a request in this pass.
        outages: areas in which a probe has failed in this attempt.
    """

    number: int
    pass_no: int
    areas: tuple[str, ...]
    begins_at: datetime
    outages: frozenset[str] = frozenset()

    def due(self, person: PersonDraft | None) -> Mapping[str, AreaDraft]:
        """The areas of a person that this pass reads, with their drafts.

        Args:
            person: None if this run has not seen the person.
        """
        # This pass has already read a person who is on two lines of the roster.
        if person is not None and person.pass_no >= self.pass_no:
            return {}
        drafts = person.areas if person is not None else {}
        if self.number == 1:
            # A resumed run keeps the reads of earlier attempts, and repeats only their failures.
            unread = (area for area in self.areas if area not in drafts or not drafts[area].is_read)
            return dict.fromkeys(unread, AreaDraft())
        return {
            area: drafts[area]
            for area in self.areas
            if area in drafts and self._repeats(area, drafts[area])
        }

    def _repeats(self, area: str, draft: AreaDraft) -> bool:
        """Whether the second or third pass reads an area again.

        Two reads that contradict each other are final: a further one could hide a wrong answer.
        """
        if draft.failure is None:
            return draft.first is not None
        if draft.failure is FailureKind.UNSTABLE:
            return False
        # Before the time that PTS named, a request would only be refused again.
        is_pause_over = draft.retry_at is None or draft.retry_at <= self.begins_at
        # After an outage, its Retry-After no longer applies.
        return area in self.outages or is_pause_over


class FailureCount(Value, frozen=True, kw_only=True):
    """Person-areas of a run that failed for the same reason."""

    area: str
    kind: FailureKind
    reason: str
    persons: int


class Publication(Value, frozen=True, kw_only=True):
    """A publication: its time, the ledger's totals, and the exit code.

    Attributes:
        warnings: figures that are unusual but below the guard's limits, each with a remedy.
        new_fields: undeclared fields that no earlier run received, each with its area.
    """

    published_at: datetime
    totals: Mapping[str, int]
    exit_code: ExitCode
    warnings: tuple[str, ...] = ()
    new_fields: tuple[str, ...] = ()

    @property
    def drift(self) -> str:
        """The warning about new undeclared fields. Empty if there are none."""
        if not self.new_fields:
            return ""
        return (
            f"new undeclared fields: {listed(self.new_fields)}. They are not stored. report_drift "
            "counts them, and `pts-worker contract learn` proposes what to declare"
        )


def add_place(places: list[str], where: str) -> None:
    """Add a line of the roster to the places of a warning, which names the first few."""
    if len(places) < _PLACES_MAX:
        # The last two words, such as "line 12", because all lines are of one file or query.
        places.append(" ".join(where.split()[-2:]))
    elif len(places) == _PLACES_MAX:
        places.append("…")


class RequestCounts(msgspec.Struct, kw_only=True):
    """Counters of requests to PTS.

    Attributes:
        requests: attempts made.
        retries: attempts after the first of each request, for any reason.
    """

    requests: int = 0
    retries: int = 0


class RunProgress(msgspec.Struct, kw_only=True):
    """Counters of this run attempt, for the progress bar and the logs.

    Attributes:
        sent: counters of its requests.
        first_roster_fault: place and problem of the first roster error, without its value.
        first_checksum_warnings: places of the first lines with wrong check digits that were sent.
        first_other_cohorts: places of the first lines with another cohort.
        persons_requested: persons handed to the readers in the first pass.
        persons_expected: persons on the roster of the last published full run. 0 if unknown.
        slowness: why requests wait now, or are slower than configured. Empty if they do not.
    """

    persons_expected: int = 0
    persons_seen: int = 0
    persons_skipped: int = 0
    persons_complete: int = 0
    persons_with_gaps: int = 0
    persons_not_sent: int = 0
    roster_faults: int = 0
    first_roster_fault: str = ""
    checksum_warnings: int = 0
    first_checksum_warnings: list[str] = []
    labels_replaced: int = 0
    other_cohorts: int = 0
    first_other_cohorts: list[str] = []
    persons_requested: int = 0
    sent: RequestCounts = msgspec.field(default_factory=RequestCounts)
    slowness: Callable[[], str] = lambda: ""

    @property
    def requests(self) -> int:
        """Attempts made."""
        return self.sent.requests

    @property
    def retries(self) -> int:
        """Attempts after the first of each request."""
        return self.sent.retries

    @property
    def persons_done(self) -> int:
        """Persons that need no more work in this run attempt."""
        done = self.persons_complete + self.persons_with_gaps
        return done + self.persons_skipped + self.persons_not_sent


class RunReport(Value, frozen=True, kw_only=True, rename={"is_continued": "continued"}):
    """How a run ended, as recorded in the ledger.

    Attributes:
        totals: the counters of the ``run`` table by column name.
        failures: open failures of this run by kind.
        reasons: why the run was withheld, stopped or published with gaps. No personal values.
        attempt_started_at: when this process began to work at the run.
        new_fields: see ``Publication``.
        warnings: the number of reasons that are warnings of the publication.
    """

    run_id: int
    kind: RunKind
    status: RunStatus
    exit_code: ExitCode
    started_at: datetime
    finished_at: datetime
    published_at: datetime | None = None
    is_continued: bool = False
    totals: Mapping[str, int] = msgspec.field(default_factory=dict)
    failures: Mapping[str, int] = msgspec.field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    attempt_started_at: datetime | None = None
    new_fields: tuple[str, ...] = ()
    warnings: int = 0

    @property
    def worked_s(self) -> float:
        """Seconds that this process worked at the run, without the time between attempts."""
        return (self.finished_at - (self.attempt_started_at or self.started_at)).total_seconds()


class PublishedState(Value, frozen=True, kw_only=True):
    """The published state for the metrics, also after a run that did not publish.

    Attributes:
        last_success_at: time of the last publication of a full run without failures.
        last_published_at: time of the last publication of a full run, so never of a backfill.
        persons_stale: number of persons on the roster with an area that the last run could not
            confirm.
        persons_known: number of persons with a published state, without departed persons.
    """

    last_success_at: datetime | None
    last_published_at: datetime | None
    persons_stale: int
    persons_known: int
