"""``worker.ports.RunStore`` on SQL: the store of one run."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.confirmation import Removed
from worker.core.guard import GuardLimits
from worker.core.model import PersonRead, RunStatus
from worker.core.run import BatchResult, Publication, RunHandle, RunProgress, ShardFinished
from worker.errors import ExitCode, WorkerError
from worker.store.database import Database
from worker.store.dialects import member, members
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import counts_of, end_attempt, interrupt_run
from worker.store.runs.publication import (
    RosterRead,
    publication_of,
    publish_run,
    removed_so_far,
)
from worker.store.runs.undo import undo_run
from worker.store.schema.tables import TOTALS, attempt, failure, person, person_area
from worker.store.writes.batch import BatchWriter

log = structlog.get_logger(__name__)

# PostgreSQL's statistics do not know the current run. With a plain comparison the planner would
# scan all proofs of that run.
_run_of_proof = person_area.c.run_id + 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The areas that a backfill reads, out of all persons on the roster.

    Attributes:
        stale_before: areas last confirmed before this time, or never.
        failed: areas with an open failure.
    """

    stale_before: datetime | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlRunStore:
    """The store of one run. The lease fences every write."""

    writer: BatchWriter
    choice: Choice | None = None

    @property
    def lease(self) -> Lease:
        """The lease of this run attempt."""
        return self.writer.lease

    @property
    def database(self) -> Database:
        """The database of the store."""
        return self.lease.database

    @property
    def handle(self) -> RunHandle:
        """The run, and this attempt at it."""
        return self.writer.handle

    async def settled(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """See ``RunStore.settled``."""
        if not person_keys:
            return {}
        handle = self.handle

        async def query(connection: AsyncConnection) -> list[tuple[str, str, int, bool, int]]:
            rows = await connection.execute(
                select(
                    person.c.person_key,
                    person_area.c.area,
                    person_area.c.person_id,
                    person_area.c.is_complete,
                    person_area.c.attempt_id,
                )
                .join(person_area, person_area.c.person_id == person.c.person_id)
                .where(
                    member(person.c.person_key),
                    _run_of_proof == handle.run_id,
                ),
                members(person_keys),
            )
            return [tuple(row) for row in rows]

        found = await self.database.read(query)
        await self._mark_seen([row[2] for row in found if row[3] and row[4] != handle.attempt_id])
        settled: dict[str, set[str]] = defaultdict(set)
        for key, area, _, is_complete, attempt_id in found:
            if is_complete or attempt_id == handle.attempt_id:
                settled[key].add(area)
        return {key: frozenset(areas) for key, areas in settled.items()}

    async def _mark_seen(self, persons: Sequence[int]) -> None:
        """Record that this attempt saw persons on the roster whom an earlier attempt read."""
        if not persons:
            return

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                update(person_area)
                .where(
                    member(person_area.c.person_id),
                    person_area.c.run_id == self.handle.run_id,
                    person_area.c.is_complete,
                )
                .values(attempt_id=self.handle.attempt_id),
                members(persons),
            )

        await self.lease.write(work)

    async def not_sent(self, person_keys: Sequence[str]) -> None:
        """See ``RunStore.not_sent``."""
        is_one = member(person.c.person_key)

        async def query(connection: AsyncConnection) -> list[int]:
            found = await connection.execute(
                select(person.c.person_id).where(is_one), members(person_keys)
            )
            return list(found.scalars())

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                update(person)
                .where(member(person.c.person_id))
                .values(not_sent_by=self.handle.attempt_id),
                members(known),
            )

        if person_keys and (known := await self.database.read(query)):
            await self.lease.write(work)

    async def chosen(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]] | None:
        """See ``RunStore.chosen``."""
        choice = self.choice
        if choice is None:
            return None
        if not person_keys:
            return {}

        async def work(connection: AsyncConnection) -> list[tuple[str, str, datetime | None, bool]]:
            rows = await connection.execute(
                select(
                    person.c.person_key,
                    person_area.c.area,
                    person_area.c.confirmed_at,
                    failure.c.kind.is_not(None),
                )
                .join(person_area, person_area.c.person_id == person.c.person_id)
                .outerjoin(
                    failure,
                    (failure.c.person_id == person_area.c.person_id)
                    & (failure.c.area == person_area.c.area),
                )
                .where(
                    member(person.c.person_key),
                ),
                members(person_keys),
            )
            return [tuple(row) for row in rows]

        picked: dict[str, set[str]] = defaultdict(set)
        seen: dict[str, set[str]] = defaultdict(set)
        for key, area, confirmed_at, has_failed in await self.database.read(work):
            seen[key].add(area)
            is_stale = choice.stale_before is not None and (
                confirmed_at is None or confirmed_at < choice.stale_before
            )
            if is_stale or (choice.failed and has_failed):
                picked[key].add(area)
        if choice.stale_before is not None:
            for key in person_keys:
                picked[key].update(set(self.handle.areas) - seen[key])
        return {key: frozenset(areas) for key, areas in picked.items() if areas}

    async def apply(self, batch: Sequence[PersonRead]) -> BatchResult:
        """See ``RunStore.apply``."""
        return await self.writer.apply(batch)

    async def renew(self) -> None:
        """See ``RunStore.renew``."""
        await self.lease.keep()

    async def removed_so_far(self, claimed: Mapping[str, Removed]) -> tuple[int, int]:
        """See ``RunStore.removed_so_far``."""
        return await self.database.read(removed_so_far, claimed, run_id=self.handle.run_id)

    async def publish(
        self,
        limits: GuardLimits,
        *,
        may_depart: bool,
        progress: RunProgress,
    ) -> Publication | ShardFinished:
        """See ``RunStore.publish``."""
        handle = self.handle

        async def work(connection: AsyncConnection) -> Publication:
            if already := await publication_of(connection, handle.run_id):
                return already
            await connection.execute(
                update(attempt)
                .where(attempt.c.attempt_id == handle.attempt_id)
                .values(counts_of(progress))
            )
            return await publish_run(
                connection,
                self.database,
                handle,
                limits,
                RosterRead(
                    seen_by_attempts=(handle.attempt_id,),
                    may_depart=may_depart,
                    faults=progress.roster_faults,
                    persons_not_sent=progress.persons_not_sent,
                ),
            )

        done = await self.lease.write(work)
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

        async def query(connection: AsyncConnection) -> int:
            return (await connection.execute(count)).scalar_one()

        return await self.database.read(query)

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

    async def interrupt(
        self,
        exit_code: ExitCode,
        reason: str,
        progress: RunProgress,
        *,
        not_before: datetime | None = None,
    ) -> None:
        """See ``RunStore.interrupt``."""
        await interrupt_run(self.lease, self.handle, exit_code=exit_code, reason=reason)
        await self._end(exit_code, progress, not_before)

    async def _end(
        self, exit_code: ExitCode, progress: RunProgress, not_before: datetime | None = None
    ) -> None:
        """Record the end of this attempt. An error here does not change how the run ended."""
        try:
            await end_attempt(
                self.lease,
                self.handle,
                exit_code=exit_code,
                progress=progress,
                not_before=not_before,
            )
        except WorkerError as error:
            log.warning("run.end_not_noted", run=self.handle.run_id, reason=error.message)
