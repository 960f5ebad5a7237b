"""Publication: one transaction that makes the drafts of a run visible to readers (promise 2).

The steps, all or nothing: mark as departed the persons missing from two full rosters in a row,
count the drafts and apply the guard, number the run, apply the drafts, and count the facts.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import structlog
from sqlalchemy import Connection, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS
from worker.core.display import counted
from worker.core.guard import GuardLimits, judge, warnings
from worker.core.guard_facts import GuardFacts
from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import Publication, RunHandle, RunProgress, exit_code_of
from worker.core.value import Value
from worker.errors import ExitCode, WithheldError
from worker.store.database import Database
from worker.store.dialects import analyse, prepare_publication
from worker.store.runs.apply_drafts import (
    applied_statements,
    delete_outdated_drafts,
    delete_unseen_drafts,
    fail_unconfirmed_reads,
    mark_departed_persons,
    mark_missed_persons,
)
from worker.store.runs.facts import write_facts
from worker.store.runs.guard_counts import (
    accepted_facts,
    collect_facts,
    count_all_missing,
    count_changes,
    count_persons,
    counts_of,
    reads_by_area,
    with_examples,
)
from worker.store.runs.ledger import counters_so_far
from worker.store.runs.new_publication import NewPublication
from worker.store.schema.columns import TOTALS
from worker.store.schema.tables import (
    CHANGES,
    VERSIONS,
    draft,
    draft_area,
    drift,
    person,
    person_area,
    run,
)

log = structlog.get_logger(__name__)

_ZONE: Final = ZoneInfo("Europe/Oslo")
"""The time zone of publication dates."""
_WEEK: Final = timedelta(days=7)
_DRAFTS: Final = (draft, draft_area, *CHANGES.values())


class Publisher(Value, frozen=True, kw_only=True):
    """Publishes one run.

    Attributes:
        is_full_roster: the roster was read to its end without a bad line, so it counts as a full
            roster. Always false in a backfill.
        progress: the progress of the publishing run attempt.
    """

    database: Database
    handle: RunHandle
    limits: GuardLimits
    is_full_roster: bool
    progress: RunProgress

    async def publish(self, connection: AsyncConnection) -> Publication:
        """Publish the run in the caller's transaction, which has renewed the lease.

        Raises:
            WithheldError: a guard limit was exceeded. The caller must roll back.
        """
        await connection.run_sync(prepare_publication, _DRAFTS)
        now = await self.database.now(connection)
        return await connection.run_sync(self._publish, now)

    def _publish(self, connection: Connection, now: datetime) -> Publication:
        # The commit may have succeeded although its acknowledgement was lost. Publishing again
        # would use a second number.
        if already := _publication_of(connection, self.handle.run_id):
            return already
        new = _next_publication(connection, self.handle, now, marks_missed=self.is_full_roster)
        # On a partial roster, a missing person may be on an unread line, so the run marks no
        # absences. The marks come first, because the counts below depend on them.
        departing = self._mark_absent(connection, new) if self.is_full_roster else 0
        # Counted while first reads are still unconfirmed. They become failures below.
        reads = reads_by_area(connection, new)
        changes = counts_of(connection, count_changes(new, *AREAS))
        facts = collect_facts(
            connection,
            new,
            self.handle,
            reads=reads,
            changes=changes,
            departing=departing,
            roster_faults=self.progress.roster_faults,
        )
        limits = self._judge(connection, new, facts)
        totals = self._totals(connection, new, reads, changes, departing)
        notes = (*_not_read_again(reads), *warnings(facts, limits))
        # The run must be published before the facts: an area is stale if the last full publication
        # did not confirm it, and that is now this one.
        published = self._mark_published(connection, new, facts, totals, notes)
        if any(read["unconfirmed"] for read in reads.values()):
            connection.execute(fail_unconfirmed_reads(new))
        for statement in applied_statements(new, connection.dialect.name):
            connection.execute(statement)
        write_facts(connection, new, week_ago=(_day(new) - _WEEK).isoformat())
        _delete_outdated(connection, new)
        if changes["rows_opened"] > facts.open_before:
            # The tables have more than doubled. A reader that prepared its query while they were
            # small keeps its slow plan until they are analysed.
            analyse(connection, [person, person_area, *VERSIONS.values()])
        return published

    def _mark_absent(self, connection: Connection, new: NewPublication) -> int:
        """Mark persons missing from this full roster.

        Returns:
            The number of departing persons.
        """
        # Only a resumed run can have drafts of persons who left the roster between two attempts.
        if self.handle.attempt > 1:
            for statement in delete_unseen_drafts(new):
                connection.execute(statement)
        departing = connection.execute(mark_departed_persons(new)).rowcount
        connection.execute(mark_missed_persons(new))
        return departing

    def _judge(self, connection: Connection, new: NewPublication, facts: GuardFacts) -> GuardLimits:
        """Apply the guard, and return the limits including accepted removals.

        Raises:
            WithheldError: a guard limit was exceeded.
        """
        limits = self.limits
        # Acceptance is limited to the counts of the withheld run that the operator has seen.
        if limits.accept_removals:
            accepted = accepted_facts(connection, self.handle)
            limits = msgspec.structs.replace(limits, accepted=accepted)
        decision = judge(facts, limits)
        log.info(
            "run.judged",
            run=self.handle.run_id,
            withheld=bool(decision.reasons),
            **msgspec.to_builtins(facts),
        )
        # The caller rolls back, so the error carries the facts and examples for `status`.
        if decision.reasons:
            raise WithheldError(
                "withheld, the last published state is kept: " + "; ".join(decision.reasons),
                hint=decision.hint,
                facts=msgspec.json.encode(with_examples(connection, new, facts)).decode(),
            )
        return limits

    def _totals(
        self,
        connection: Connection,
        new: NewPublication,
        reads: Mapping[str, Mapping[str, int]],
        changes: Mapping[str, int],
        departing: int,
    ) -> Mapping[str, int]:
        """The counters of the ledger."""
        persons = counts_of(connection, count_persons(new))
        complete, attempted, records = (
            sum(read[name] for read in reads.values())
            for name in ("complete", "attempted", "records")
        )
        return {
            **counters_so_far(self.handle, self.progress),
            # A departing person has no read in this run.
            "persons_total": persons["persons"] + departing,
            "persons_complete": persons["complete"],
            "persons_stale": persons["persons"] - persons["complete"],
            "persons_departed": departing,
            "persons_missing": connection.execute(count_all_missing(new)).scalar_one(),
            "areas_complete": complete,
            "areas_failed": attempted - complete,
            "rows_read": records,
            "rows_opened": changes["rows_opened"],
            "rows_changed": changes["rows_changed"],
            "rows_closed": changes["rows_closed"],
            "rows_unchanged": records - changes["rows_opened"] - changes["rows_changed"],
        }

    def _mark_published(
        self,
        connection: Connection,
        new: NewPublication,
        facts: GuardFacts,
        totals: Mapping[str, int],
        notes: tuple[str, ...],
    ) -> Publication:
        """Give the run its number and time."""
        published = Publication(
            published_at=new.at,
            totals=totals,
            exit_code=exit_code_of(totals),
            warnings=notes,
            new_fields=_new_fields(connection, self.handle.run_id),
        )
        connection.execute(
            update(run)
            .where(run.c.run_id == self.handle.run_id)
            .values(
                status=RunStatus.PUBLISHED,
                publication_no=new.number,
                published_at=new.at,
                day=_day(new).isoformat(),
                # The worker's clock, like `started_at`, so that their difference is a duration.
                finished_at=self.database.runtime.now(),
                exit_code=published.exit_code,
                reason="; ".join(filter(None, [*_gaps(totals), *notes, published.drift])) or None,
                guard=msgspec.json.encode(facts).decode(),
                **totals,
            )
        )
        return published


def _next_publication(
    connection: Connection, handle: RunHandle, now: datetime, *, marks_missed: bool
) -> NewPublication:
    """The number and time of the next publication, for this run."""
    last_no, last_at = connection.execute(
        select(func.max(run.c.publication_no), func.max(run.c.published_at))
    ).one()
    return NewPublication(
        run_id=handle.run_id,
        first_pass_no=handle.pass_no(1),
        is_sync=handle.kind == RunKind.SYNC,
        marks_missed=marks_missed,
        number=(last_no or 0) + 1,
        # "As of" queries need increasing publication times, even if the clock is set back.
        at=now if last_at is None else max(now, last_at + timedelta.resolution),
    )


def _day(new: NewPublication) -> date:
    """The date of a publication in Norway."""
    return new.at.astimezone(_ZONE).date()


def _delete_outdated(connection: Connection, new: NewPublication) -> None:
    """Delete drafts of other open runs that were compared with a state that has now changed."""
    is_open = select(run.c.run_id).where(run.c.status.in_(sorted(OPEN_STATUSES)))
    if others := connection.execute(is_open).scalars().all():
        for statement in delete_outdated_drafts(new, others):
            connection.execute(statement)


def _gaps(totals: Mapping[str, int]) -> Iterator[str]:
    """The reasons for a publication with gaps."""
    if faults := totals["roster_faults"]:
        yield f"{counted(faults, 'line')} of the roster could not be read"
    if failed := totals["areas_failed"]:
        yield f"{counted(failed, 'person-area')} could not be read"


def _not_read_again(reads: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """The warning about first reads without a second: the persons had left the roster by then."""
    if count := sum(read["not_repeated"] for read in reads.values()):
        areas = counted(count, "person-area")
        yield f"not read a second time, as the roster has changed: {areas}"


def _publication_of(connection: Connection, run_id: int) -> Publication | None:
    """The existing publication of a run, if an earlier commit lost its acknowledgement."""
    row = connection.execute(select(run).where(run.c.run_id == run_id)).one()
    if row.status != RunStatus.PUBLISHED:
        return None
    return Publication(
        published_at=row.published_at,
        totals={name: getattr(row, name) for name in TOTALS},
        exit_code=ExitCode(row.exit_code),
        new_fields=_new_fields(connection, run_id),
    )


def _new_fields(connection: Connection, run_id: int) -> tuple[str, ...]:
    """The undeclared fields that this run was the first to receive."""
    query = select(drift.c.area, drift.c.field).where(drift.c.first_run == run_id)
    rows = connection.execute(query.order_by(drift.c.area, drift.c.field))
    return tuple(f"{row.area} {row.field}" for row in rows)
