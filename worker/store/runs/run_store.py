"""The store of one run, and how it is opened."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from msgspec.structs import replace
from sqlalchemy import Select, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS
from worker.core.diff import Confirm
from worker.core.guard import GuardLimits
from worker.core.model import Person, PersonRead, RunKind, RunStatus
from worker.core.run import FailureCount, Pass, PersonDraft, Publication, RunHandle, RunProgress
from worker.core.value import Value
from worker.errors import ExitCode, WithheldError, WorkerError
from worker.store.database import Database
from worker.store.dialects import is_any_of
from worker.store.persons import open_failures, unpublished_run
from worker.store.runs.batch import write_batch
from worker.store.runs.drafts import answered_areas, count_due, count_failures, find_persons
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import begin_run, counters_so_far, delete_garbage, update_run
from worker.store.runs.publication import Publisher
from worker.store.runs.write_drafts import add_unread, mark_seen, mark_seen_and_relabel
from worker.store.schema.tables import draft, draft_area, person, person_area

log = structlog.get_logger(__name__)


class BackfillSelection(Value, frozen=True, kw_only=True):
    """Selects the areas that a backfill reads, for each person on the roster.

    Attributes:
        stale_before: areas last confirmed before this time, or never.
        failed: areas with an open failure.
    """

    stale_before: datetime | None = None
    failed: bool = False

    def includes(self, confirmed_at: datetime | None, *, is_failed: bool) -> bool:
        """Whether the selection includes an area with this confirmation time and failure state."""
        is_selected = self.failed and is_failed
        if self.stale_before is None:
            return is_selected
        return is_selected or confirmed_at is None or confirmed_at < self.stale_before


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunStore:
    """The store of one run, protected by the lease and its fencing token.

    Every write raises ``LeaseLostError`` if another holder took over.

    Attributes:
        confirm: which differences need a confirming second read.
    """

    lease: Lease
    handle: RunHandle
    confirm: Confirm
    selection: BackfillSelection | None = None

    @property
    def database(self) -> Database:
        """The database of the store."""
        return self.lease.database

    async def drafts(
        self, persons: Sequence[Person], *, pass_number: int
    ) -> Mapping[str, PersonDraft]:
        """The drafts of persons seen by this run, by person key.

        In the first pass of an attempt, persons of an earlier attempt are marked as seen on the
        roster, under today's labels.
        """
        keys, run_id = [person.person_key for person in persons], self.handle.run_id
        # In a read transaction, because most chunks have nothing to mark, and write transactions
        # would wait for each other.
        stored = await self.database.read(find_persons, keys, run_id=run_id, only_drafted=True)
        drafts = {key: row.draft for key, row in stored.items() if row.draft is not None}
        pass_no = self.handle.pass_no(pass_number)
        unseen = [
            {
                "person_id": stored[person.person_key].person_id,
                "local_ref": person.local_ref,
                "cohort": person.cohort,
            }
            for person in persons
            if person.person_key in drafts and drafts[person.person_key].pass_no < pass_no
        ]
        # Absence is judged by the first pass of an attempt, so later passes mark nothing.
        if pass_number == 1 and unseen:
            await self.lease.write(mark_seen_and_relabel, self.handle, unseen)
        return drafts

    async def count_due(self, pass_: Pass) -> int:
        """The number of persons that the second or third pass reads."""
        return await self.database.read(count_due, self.handle.run_id, pass_)

    async def failures(self) -> Sequence[FailureCount]:
        """The failed person-areas of this run by area, kind and reason, most frequent first."""
        return await self.database.read(count_failures, run_id=self.handle.run_id)

    async def mark_not_sent(self, person_keys: Sequence[str]) -> None:
        """Mark persons as on the roster although they are not read from PTS.

        Persons in the store become stale and count as on the roster. Others are not added.
        """
        if person_keys:
            await self.lease.write(self._write_not_sent, person_keys)

    async def selected_areas(
        self, person_keys: Sequence[str]
    ) -> Mapping[str, frozenset[str]] | None:
        """The areas that a backfill of stale or failed areas reads. ``None``: all areas."""
        if self.selection is None:
            return None
        return await self.database.read(_selected_areas, person_keys, selection=self.selection)

    async def write_reads(
        self, batch: Sequence[PersonRead], *, pass_number: int = 1
    ) -> frozenset[str]:
        """Write drafts of a batch of persons in one transaction, with their completeness proofs.

        Each read is compared with the published state. A first read changes nothing until a second
        read confirms it, if it would take a restriction out of effect or open a restriction id that
        another person has. With ``sync.confirm = changes``, any difference needs confirmation.

        Returns:
            The keys of persons with a first read that waits for its second.
        """
        if not batch:
            return frozenset()
        now = self.database.runtime.now()
        return await self.lease.write(
            write_batch,
            batch,
            handle=self.handle,
            pass_no=self.handle.pass_no(pass_number),
            confirm=self.confirm,
            now=now,
        )

    async def renew(self) -> None:
        """Renew the lease while nothing is written."""
        await self.database.write(self.lease.renew)

    async def publish(
        self,
        limits: GuardLimits,
        *,
        is_full_roster: bool,
        progress: RunProgress,
    ) -> Publication:
        """Publish the run in one transaction.

        Raises:
            WithheldError: the run exceeds the limits. Nothing was changed.
        """
        publisher = Publisher(
            database=self.database,
            handle=self.handle,
            limits=limits,
            is_full_roster=is_full_roster,
            progress=progress,
        )
        # A publication may take minutes. With the usual time-out, each retry would fail as well.
        lease = dataclasses.replace(self.lease, database=self.database.for_long_transactions())
        publication = await lease.write(publisher.publish)
        # After the commit, so that the publication's transaction stays short.
        try:
            await delete_garbage(self.lease)
        except WorkerError as error:  # the next run retries it
            log.warning("drafts.not_deleted", run=self.handle.run_id, reason=error.message)
        return publication

    async def unknown_failures(self) -> int:
        """The number of open failures of persons that were never published, in this run's areas.

        A backfill does not read them, because they may not be on the roster. 0 unless this run
        reads failures.
        """
        if self.selection is None or not self.selection.failed:
            return 0
        return await self.database.read(_unknown_failures, self.handle.areas)

    async def new_persons(self) -> int:
        """The number of persons read in this run that were never published."""
        return await self.database.read(_new_persons, self.handle.run_id)

    async def abandon(
        self, exit_code: ExitCode, reason: str, progress: RunProgress
    ) -> Mapping[str, int]:
        """End the run without publishing it, because nothing was read, and return its totals."""
        return await self._end(RunStatus.ABANDONED, exit_code, reason, progress)

    async def withhold(self, error: WithheldError, progress: RunProgress) -> None:
        """End the run as withheld, and delete its drafts except failures."""
        code, reason = error.exit_code, error.message
        await self._end(RunStatus.WITHHELD, code, reason, progress, guard=error.facts)

    async def interrupt(self, exit_code: ExitCode, reason: str, progress: RunProgress) -> None:
        """Stop this run attempt and leave the run open, so that the next attempt resumes it."""
        await self._end(RunStatus.INTERRUPTED, exit_code, reason, progress)

    async def _end(
        self,
        status: RunStatus,
        exit_code: ExitCode,
        reason: str,
        progress: RunProgress,
        **more: Any,
    ) -> Mapping[str, int]:
        counters, now = counters_so_far(self.handle, progress), self.database.runtime.now()
        end = {"status": status, "exit_code": exit_code, "reason": reason, "finished_at": now}
        await update_run(self.lease, self.handle.run_id, **end, **counters, **more)
        # The next attempt resumes an interrupted run from its drafts.
        if status != RunStatus.INTERRUPTED:
            await delete_garbage(self.lease)
        return counters

    async def _write_not_sent(
        self, connection: AsyncConnection, person_keys: Sequence[str]
    ) -> None:
        """Mark the persons' drafts, and add drafts without a read for published persons."""
        stored = await find_persons(connection, person_keys, run_id=self.handle.run_id)
        person_ids = [person.person_id for person in stored.values()]
        await mark_seen(connection, self.handle, person_ids)
        await add_unread(connection, self.handle, person_ids)


async def _unknown_failures(connection: AsyncConnection, areas: Sequence[str]) -> int:
    failures = (await open_failures(connection)).c
    is_unknown = failures.person_key.not_in(select(person.c.person_key))
    unknown = select(func.count()).where(failures.area.in_(areas), is_unknown)
    return int((await connection.execute(unknown)).scalar_one())


async def _new_persons(connection: AsyncConnection, run_id: int) -> int:
    new = select(func.count()).where(draft.c.run_id == run_id, draft.c.is_new)
    return int((await connection.execute(new)).scalar_one())


async def _selected_areas(
    connection: AsyncConnection, person_keys: Sequence[str], *, selection: BackfillSelection
) -> Mapping[str, frozenset[str]]:
    """The areas of these persons that a backfill reads. An unknown person is stale."""
    is_requested = is_any_of(connection.dialect.name, person.c.person_key, "person_keys")
    parameters = {"person_keys": person_keys}
    states = await connection.execute(_area_states().where(is_requested), parameters)
    rows = {(row.person_key, row.area): row for row in states}
    confirmed = {area: row.confirmed_at for area, row in rows.items()}
    failed = {area for area, row in rows.items() if row.failure_kind is not None}
    latest = await unpublished_run(connection)
    if latest is not None:
        # Failures of an unpublished run are only in its drafts.
        failures = _failed_in(latest).where(is_requested)
        failed.update(tuple(row) for row in await connection.execute(failures, parameters))
    return {
        key: frozenset(
            area.name
            for area in AREAS
            if selection.includes(
                confirmed.get((key, area.name)), is_failed=(key, area.name) in failed
            )
        )
        for key in person_keys
    }


def _area_states() -> Select[Any]:
    """The confirmation and the failure of each area of published persons."""
    # A departure clears only the number, because the time stays that of the last complete read.
    is_confirmed = person_area.c.confirmed_no.is_not(None)
    return select(
        person.c.person_key,
        person_area.c.area,
        case((is_confirmed, person_area.c.confirmed_at)).label("confirmed_at"),
        person_area.c.failure_kind,
    ).join_from(person, person_area, person_area.c.person_id == person.c.person_id)


def _failed_in(run_id: int) -> Select[Any]:
    """The areas of published persons that a run could not read."""
    is_failure = and_(draft_area.c.run_id == run_id, draft_area.c.failure_kind.is_not(None))
    return select(person.c.person_key, draft_area.c.area).join_from(
        person, draft_area, and_(is_failure, draft_area.c.person_id == person.c.person_id)
    )


async def open_run_store(
    lease: Lease,
    *,
    kind: RunKind,
    areas: Sequence[str],
    terms: str,
    continue_within: timedelta,
    selection: BackfillSelection | None = None,
    confirm: Confirm = Confirm.REMOVALS,
) -> RunStore:
    """Resume or start a run, delete the drafts of ended runs, and open the run's store.

    Raises:
        LeaseLostError: another holder took over.
    """
    handle = await begin_run(
        lease, kind=kind, areas=areas, terms=terms, continue_within=continue_within
    )
    # After `begin_run`, because that may have abandoned a run with drafts.
    await delete_garbage(lease)
    # An area that has never answered is given up at once, without waiting for `sync.patience`.
    answered, with_record = await lease.database.read(answered_areas, run_id=handle.run_id)
    handle = replace(handle, answered=answered, answered_with_record=with_record)
    return RunStore(lease=lease, handle=handle, confirm=confirm, selection=selection)
