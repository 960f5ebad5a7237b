"""``worker.ports.RunStore`` on SQL: the store of one run, and how it is opened."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.confirmation import Confirm
from worker.core.guard import GuardLimits
from worker.core.model import RunKind, RunStatus
from worker.core.run import Publication, RunProgress
from worker.core.value import Value
from worker.errors import ExitCode, WorkerError
from worker.store.database import Database, execute, rows_of
from worker.store.dialects import member, members
from worker.store.runs.guard_facts import removed_by
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import (
    begin_run,
    counts_of,
    end_attempt,
    interrupt_run,
    open_runs,
    update_attempt,
)
from worker.store.runs.publication import publication_of, publish_run
from worker.store.runs.undo import leftovers, undo_run, undo_writes
from worker.store.schema.tables import TOTALS, failure, person, person_area
from worker.store.writes.batch import BatchWriter

log = structlog.get_logger(__name__)

# PostgreSQL's statistics do not know the current run. With a plain comparison the planner would
# scan all proofs of that run.
_run_of_proof = person_area.c.run_id + 0


class Choice(Value, frozen=True, kw_only=True):
    """The areas that a backfill reads, out of all persons on the roster.

    Attributes:
        stale_before: areas last confirmed before this time, or never.
        failed: areas with an open failure.
    """

    stale_before: datetime | None = None
    failed: bool = False


@dataclass(slots=True, kw_only=True)
class SqlRunStore(BatchWriter):
    """The store of one run. The lease fences every write."""

    choice: Choice | None = None

    @property
    def database(self) -> Database:
        """The database of the store."""
        return self.lease.database

    async def settled(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """See ``RunStore.settled``."""
        if not person_keys:
            return {}
        handle = self.handle
        query = (
            select(
                person.c.person_key,
                person_area.c.area,
                person_area.c.person_id,
                person_area.c.is_complete,
                person_area.c.attempt_id,
            )
            .join(person_area, person_area.c.person_id == person.c.person_id)
            .where(member(person.c.person_key), _run_of_proof == handle.run_id)
        )
        found = await self.database.read(rows_of, query, members(person_keys))
        await self._mark_seen(
            [
                row.person_id
                for row in found
                if row.is_complete and row.attempt_id != handle.attempt_id
            ]
        )
        settled: dict[str, set[str]] = defaultdict(set)
        for row in found:
            if row.is_complete or row.attempt_id == handle.attempt_id:
                settled[row.person_key].add(row.area)
        return {key: frozenset(areas) for key, areas in settled.items()}

    async def _mark_seen(self, persons: Sequence[int]) -> None:
        """Record that this attempt saw persons on the roster whom an earlier attempt read."""
        seen = (
            update(person_area)
            .where(
                member(person_area.c.person_id),
                person_area.c.run_id == self.handle.run_id,
                person_area.c.is_complete,
            )
            .values(attempt_id=self.handle.attempt_id)
        )
        if persons:
            await self.lease.write(execute, seen, members(persons))

    async def not_sent(self, person_keys: Sequence[str]) -> None:
        """See ``RunStore.not_sent``."""
        if not person_keys:
            return
        query = select(person.c.person_id).where(member(person.c.person_key))
        known = await self.database.read(rows_of, query, members(person_keys))
        if known:
            seen = update(person).where(member(person.c.person_id))
            await self.lease.write(
                execute,
                seen.values(not_sent_by=self.handle.attempt_id),
                members([row.person_id for row in known]),
            )

    async def chosen(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]] | None:
        """See ``RunStore.chosen``."""
        choice = self.choice
        if choice is None:
            return None
        if not person_keys:
            return {}
        query = (
            select(
                person.c.person_key,
                person_area.c.area,
                person_area.c.confirmed_at,
                failure.c.kind.is_not(None).label("has_failed"),
            )
            .join(person_area, person_area.c.person_id == person.c.person_id)
            .outerjoin(
                failure,
                (failure.c.person_id == person_area.c.person_id)
                & (failure.c.area == person_area.c.area),
            )
            .where(member(person.c.person_key))
        )
        found = await self.database.read(rows_of, query, members(person_keys))
        picked: dict[str, set[str]] = defaultdict(set)
        seen: dict[str, set[str]] = defaultdict(set)
        for row in found:
            seen[row.person_key].add(row.area)
            is_stale = choice.stale_before is not None and (
                row.confirmed_at is None or row.confirmed_at < choice.stale_before
            )
            if is_stale or (choice.failed and row.has_failed):
                picked[row.person_key].add(row.area)
        if choice.stale_before is not None:
            for key in person_keys:
                picked[key].update(set(self.handle.areas) - seen[key])
        return {key: frozenset(areas) for key, areas in picked.items() if areas}

    async def renew(self) -> None:
        """See ``RunStore.renew``."""
        await self.lease.keep()

    async def removed_so_far(self) -> tuple[int, int]:
        """See ``RunStore.removed_so_far``."""
        return await self.database.read(removed_by, self.handle.run_id)

    async def publish(
        self,
        limits: GuardLimits,
        *,
        may_depart: bool,
        progress: RunProgress,
    ) -> Publication:
        """See ``RunStore.publish``."""
        handle = self.handle

        async def work(connection: AsyncConnection) -> Publication:
            if already := await publication_of(connection, handle.run_id):
                return already
            await update_attempt(connection, handle, **counts_of(progress))
            return await publish_run(
                connection,
                self.database,
                handle,
                limits,
                may_depart=may_depart,
                progress=progress,
            )

        done = await self.lease.lasting().write(work)
        await self._end(done.exit_code, progress)
        return done

    async def unknown_failures(self) -> int:
        """See ``RunStore.unknown_failures``."""
        if self.choice is None or not self.choice.failed:
            return 0
        is_known = (
            select(person_area.c.person_id)
            .where(
                person_area.c.person_id == failure.c.person_id,
                person_area.c.area == failure.c.area,
            )
            .exists()
        )
        count = (
            select(func.count())
            .select_from(failure)
            .where(failure.c.area.in_(self.handle.areas), ~is_known)
        )
        (row,) = await self.database.read(rows_of, count)
        unknown: int = row[0]
        return unknown

    async def abandon(
        self, exit_code: ExitCode, reason: str, progress: RunProgress
    ) -> Mapping[str, int]:
        """See ``RunStore.abandon``."""
        await undo_run(
            self.lease,
            self.handle.run_id,
            status=RunStatus.ABANDONED,
            exit_code=exit_code,
            reason=reason,
        )
        await self._end(exit_code, progress)
        return dict.fromkeys(TOTALS, 0) | {
            "persons_not_sent": progress.persons_not_sent,
            "roster_faults": progress.roster_faults,
        }

    async def withhold(self, reason: str) -> None:
        """See ``RunStore.withhold``."""
        await undo_run(
            self.lease,
            self.handle.run_id,
            status=RunStatus.WITHHELD,
            exit_code=ExitCode.WITHHELD,
            reason=reason,
        )

    async def interrupt(self, exit_code: ExitCode, reason: str, progress: RunProgress) -> None:
        """See ``RunStore.interrupt``."""
        await interrupt_run(self.lease, self.handle, exit_code=exit_code, reason=reason)
        await self._end(exit_code, progress)

    async def _end(self, exit_code: ExitCode, progress: RunProgress) -> None:
        """Record the end of this attempt. An error here does not change how the run ended."""
        try:
            await end_attempt(
                self.lease,
                self.handle,
                exit_code=exit_code,
                progress=progress,
            )
        except WorkerError as error:
            log.warning("run.end_not_noted", run=self.handle.run_id, reason=error.message)


async def open_run_store(
    lease: Lease,
    *,
    kind: RunKind,
    areas: Sequence[str],
    contract: str,
    continue_within: timedelta,
    choice: Choice | None = None,
    confirm: Confirm = Confirm.REMOVALS,
) -> SqlRunStore:
    """Undo the leftovers of withheld and abandoned runs; continue or begin a run; open its store.

    Raises:
        LeaseLostError: another holder took over.
    """
    for run_id in await lease.database.read(leftovers):
        await undo_writes(lease, run_id)
    handle = await begin_run(
        lease, kind=kind, areas=areas, contract=contract, continue_within=continue_within
    )
    others = await lease.database.read(open_runs)
    confirmed = select(person_area.c.area).where(person_area.c.confirmed_at.is_not(None)).limit(1)
    was_answered = bool(await lease.database.read(rows_of, confirmed))
    return SqlRunStore(
        lease=lease,
        handle=replace(handle, was_answered=was_answered),
        unpublished=tuple(row.run_id for row in others if row.run_id != handle.run_id),
        confirm=confirm,
        choice=choice,
    )
