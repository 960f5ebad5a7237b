"""The store of one run, and how it is opened."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from msgspec.structs import replace
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS
from worker.core.diff import Confirm
from worker.core.effect import instant_sql
from worker.core.guard import GuardLimits
from worker.core.model import Person, PersonRead, RunKind, RunStatus
from worker.core.run import FailureCount, PersonDraft, Publication, RunHandle, RunProgress
from worker.core.value import Value
from worker.errors import ExitCode, FailureKind, WithheldError, WorkerError
from worker.store import statements
from worker.store.database import Database
from worker.store.filling import filled
from worker.store.persons import open_failures, unpublished_run
from worker.store.runs.batch import Known, find_persons, write_batch
from worker.store.runs.bulk import IDS, KEYS, InputRows, Row
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import begin_run, forget_garbage, note_run
from worker.store.runs.publication import Publisher, read_so_far
from worker.store.schema.tables import person

log = structlog.get_logger(__name__)

_SEEN: Final = InputRows((*IDS.columns, ("local_ref", "text"), ("cohort", "text")))


class Choice(Value, frozen=True, kw_only=True):
    """The areas that a backfill reads, out of all persons on the roster.

    Attributes:
        stale_before: areas last confirmed before this time, or never.
        failed: areas with an open failure.
    """

    stale_before: datetime | None = None
    failed: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunStore:
    """The store of one run, protected by the lease and its fencing token.

    Whatever writes raises ``LeaseLostError`` if another holder took over.

    Attributes:
        confirm: which differences need a second read that agrees.
    """

    lease: Lease
    handle: RunHandle
    confirm: Confirm
    choice: Choice | None = None

    @property
    def database(self) -> Database:
        """The database of the store."""
        return self.lease.database

    async def drafts(
        self, persons: Sequence[Person], *, pass_number: int
    ) -> Mapping[str, PersonDraft]:
        """The drafts of persons whom this run has seen, by person key.

        In the first pass of an attempt, persons of an earlier attempt are marked as seen on the
        roster, under today's labels.
        """
        pass_no, known = self.handle.pass_no(pass_number), await self._read(persons)
        if pass_number == 1:
            labels = {person.person_key: (person.local_ref, person.cohort) for person in persons}
            unseen = [
                (row.person_id, *labels[key])
                for key, row in known.items()
                if row.draft is not None and row.draft.pass_no < pass_no
            ]
            if unseen:
                await self.lease.write(self._mark_seen, unseen)
        return {key: row.draft for key, row in known.items() if row.draft is not None}

    async def due(self, areas: Collection[str], *, pass_number: int, with_failures: bool) -> int:
        """The number of persons whom the second or third pass reads again in these areas.

        See ``AreaDraft.is_due``. Persons whom this pass has read already do not count.
        """
        count = filled(
            statements.COUNT_DUE,
            run=self.handle.run_id,
            pass_no=self.handle.pass_no(pass_number),
            areas=", ".join(f"'{area}'" for area in areas) or "NULL",
            with_failures="true" if with_failures else "false",
        )
        return await self.database.read(_count, count)

    async def failures(self) -> Sequence[FailureCount]:
        """The failed person-areas of this run by area, kind and reason, most frequent first."""
        count = filled(statements.COUNT_FAILED, run=self.handle.run_id)
        return await self.database.read(_failures, count)

    async def not_sent(self, person_keys: Sequence[str]) -> None:
        """Mark persons as on the roster although they are not read from PTS.

        Known persons become stale and count as named. Unknown persons are not added.
        """
        if person_keys:
            await self.lease.write(self._mark_not_sent, person_keys)

    async def chosen(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]] | None:
        """The areas that a backfill of stale or failed areas reads. ``None``: all areas."""
        if self.choice is None:
            return None
        return await self.database.read(_chosen_of, person_keys, choice=self.choice)

    async def apply(self, batch: Sequence[PersonRead], *, pass_number: int = 1) -> frozenset[str]:
        """Write drafts of a batch of persons in one transaction, with their completeness proofs.

        Each is compared with the published state. A first read that would take a restriction out
        of effect, or open what another person has, changes nothing until a second one has confirmed
        it; with ``sync.confirm = changes`` so does any difference.

        Returns:
            The keys of persons with an area whose first read waits for its second.
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
        may_depart: bool,
        progress: RunProgress,
    ) -> Publication:
        """Publish the run in one transaction.

        Raises:
            WithheldError: the run is beyond the limits; nothing was changed.
        """
        publisher = Publisher(
            database=self.database,
            handle=self.handle,
            limits=limits,
            may_depart=may_depart,
            progress=progress,
        )
        lasting = dataclasses.replace(self.lease, database=self.database.lasting())
        done = await lasting.write(publisher.publish)
        try:
            await forget_garbage(self.lease)
        except WorkerError as error:  # the next run does it
            log.warning("drafts.not_forgotten", run=self.handle.run_id, reason=error.message)
        return done

    async def unknown_failures(self) -> int:
        """Open failures in this run's areas of persons who are in no publication.

        No backfill reads them, as nothing says that they are on the roster. 0 unless this run reads
        failures.
        """
        if self.choice is None or not self.choice.failed:
            return 0
        return await self.database.read(_unknown_failures, self.handle.areas)

    async def abandon(
        self, exit_code: ExitCode, reason: str, progress: RunProgress
    ) -> Mapping[str, int]:
        """End the run without publishing it, as nothing was read; its totals."""
        return await self._end(RunStatus.ABANDONED, exit_code, reason, progress)

    async def withhold(self, error: WithheldError, progress: RunProgress) -> None:
        """Forget what the run has read, but for its failures, and end it."""
        code, reason = error.exit_code, error.message
        await self._end(RunStatus.WITHHELD, code, reason, progress, guard=error.facts)

    async def interrupt(self, exit_code: ExitCode, reason: str, progress: RunProgress) -> None:
        """Stop this run attempt and leave the run open, for the next one to continue."""
        await self._end(RunStatus.INTERRUPTED, exit_code, reason, progress)

    async def _end(
        self,
        status: RunStatus,
        exit_code: ExitCode,
        reason: str,
        progress: RunProgress,
        **more: Any,
    ) -> Mapping[str, int]:
        read, now = read_so_far(self.handle, progress), self.database.runtime.now()
        said = {"status": status, "exit_code": exit_code, "reason": reason, "finished_at": now}
        await note_run(self.lease, self.handle.run_id, **said, **read, **more)
        if status != RunStatus.INTERRUPTED:
            await forget_garbage(self.lease)
        return read

    async def _read(self, persons: Sequence[Person]) -> Mapping[str, Known]:
        """Persons of whom this run has a draft."""
        keys, run_id = [person.person_key for person in persons], self.handle.run_id
        return await self.database.read(find_persons, keys, run_id=run_id, is_read=True)

    async def _mark_seen(self, connection: AsyncConnection, persons: Sequence[Row]) -> None:
        """Record that this attempt saw persons on the roster whom an earlier attempt has read."""
        handle = self.handle
        mark = filled(statements.MARK_SEEN, run=handle.run_id, pass_no=handle.pass_no(1))
        await _SEEN.execute(connection, mark, persons)

    async def _mark_not_sent(self, connection: AsyncConnection, person_keys: Sequence[str]) -> None:
        """Record that this attempt saw persons under an identifier that is not sent to PTS."""
        run_id, pass_no = self.handle.run_id, self.handle.pass_no(1)
        known = await find_persons(connection, person_keys, run_id=run_id)
        persons = [(one.person_id, one.local_ref, one.cohort) for one in known.values()]
        await self._mark_seen(connection, persons)
        add = filled(statements.ADD_NOT_SENT, run=run_id, pass_no=pass_no)
        await IDS.execute(connection, add, [person[:1] for person in persons])


async def _count(connection: AsyncConnection, counted: str) -> int:
    return int((await connection.exec_driver_sql(counted)).scalar_one())


async def _failures(connection: AsyncConnection, count: str) -> Sequence[FailureCount]:
    rows = (await connection.exec_driver_sql(count)).mappings()
    return [FailureCount(**{**row, "kind": FailureKind(row["kind"])}) for row in rows]


async def _unknown_failures(connection: AsyncConnection, areas: Sequence[str]) -> int:
    failures = (await open_failures(connection)).c
    is_unknown = failures.person_key.not_in(select(person.c.person_key))
    unknown = select(func.count()).where(failures.area.in_(areas), is_unknown)
    return int((await connection.execute(unknown)).scalar_one())


async def _chosen_of(
    connection: AsyncConnection, person_keys: Sequence[str], *, choice: Choice
) -> Mapping[str, frozenset[str]]:
    """The areas of these persons that a backfill reads."""
    find = filled(
        statements.FIND_CHOICE,
        run=await unpublished_run(connection) or 0,
        stale=choice.stale_before is not None,
        before=instant_sql(choice.stale_before or datetime.min.replace(tzinfo=UTC)),
        failed=choice.failed,
    )
    found = await KEYS.execute(connection, find, [(key,) for key in person_keys])
    return {
        key: frozenset(area.name for area, is_due in zip(AREAS, due, strict=True) if is_due)
        for key, *due in found
    }


async def open_run_store(
    lease: Lease,
    *,
    kind: RunKind,
    areas: Sequence[str],
    terms: str,
    continue_within: timedelta,
    choice: Choice | None = None,
    confirm: Confirm = Confirm.REMOVALS,
) -> RunStore:
    """Continue or begin a run; forget what ended runs have read; open its store.

    Raises:
        LeaseLostError: another holder took over.
    """
    handle = await begin_run(
        lease, kind=kind, areas=areas, terms=terms, continue_within=continue_within
    )
    await forget_garbage(lease)
    find = filled(statements.FIND_ANSWERED, run=handle.run_id)
    answered, with_record = await lease.database.read(_answered, find)
    handle = replace(handle, answered=answered, answered_with_record=with_record)
    return RunStore(lease=lease, handle=handle, confirm=confirm, choice=choice)


async def _answered(
    connection: AsyncConnection, find: str
) -> tuple[frozenset[str], frozenset[str]]:
    """The areas that were ever read, and those of which a read held a record."""
    rows = (await connection.exec_driver_sql(find)).mappings().all()
    return (
        frozenset(row["area"] for row in rows if row["is_answered"]),
        frozenset(row["area"] for row in rows if row["with_record"]),
    )
