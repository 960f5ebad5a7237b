"""The store as one shard of a run sees it: ``worker.ports.RunStore`` beside others at one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.confirmation import Removed
from worker.core.guard import GuardLimits
from worker.core.model import PersonRead, RunStatus
from worker.core.run import BatchResult, Publication, RunProgress, ShardFinished
from worker.core.sharding import Shard
from worker.errors import ExitCode, WithheldError
from worker.ports import RateBudget
from worker.store.runs.lease import locked
from worker.store.runs.ledger import mark_interrupted
from worker.store.runs.run_store import SqlRunStore
from worker.store.schema.tables import attempt, person_area, run
from worker.store.shards.assignments import last_turns, others_at
from worker.store.shards.rate_shares import balance
from worker.store.writes.record_keys import AgreedRecordKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRunStore(SqlRunStore):
    """A shard's store. Its writes are fenced by the shard's own lease.

    Attributes:
        shard: whose part of the run this is.
        keys: keeps all shards to the same record keys.
        budget: how often this shard may ask PTS.
    """

    shard: Shard
    keys: AgreedRecordKeys
    budget: RateBudget

    async def apply(self, batch: Sequence[PersonRead]) -> BatchResult:
        """See ``RunStore.apply``."""
        return await self.writer.apply(await self.keys.agreed(batch))

    async def renew(self) -> None:
        """See ``RunStore.renew``; and look again at how the ceiling on requests is divided."""
        await balance(self.database, self.lease, self.budget, shards=self.shard.count)

    async def removed_so_far(self, _claimed: Mapping[str, Removed]) -> tuple[int, int]:
        """Nothing: only the last shard judges, and it judges the whole."""
        return 0, 0

    async def publish(
        self,
        limits: GuardLimits,
        *,
        may_depart: bool,
        progress: RunProgress,
    ) -> Publication | ShardFinished:
        """Note that this part is done; if it was the last, publish or withhold the whole.

        All in one transaction, so that a commit which came through unheard can be repeated, and
        nobody joins the run between judgement and end.
        """

        async def work(connection: AsyncConnection) -> Publication | ShardFinished | WithheldError:
            await locked(self.database, connection, self.lease.tenant_id)
            await self.lease.renew(self.database, connection)
            ended = await self._ended(connection)
            if ended is not None:
                return ended
            await self._note_done(connection, may_depart=may_depart, progress=progress)
            turns = await last_turns(connection, self.handle.run_id)
            done = [turn for turn in turns.values() if turn.is_done]
            if len(done) < self.shard.count:
                code = ExitCode.GAPS if await self._has_gaps(connection) else ExitCode.OK
                return ShardFinished(shard=self.shard, done=len(done), exit_code=code)
            publisher = replace(
                self.publisher, seen_by_attempts=tuple(sorted(turn.attempt_id for turn in done))
            )
            try:
                async with connection.begin_nested():
                    return await publisher.publish_in(
                        connection,
                        limits,
                        may_depart=all(turn.roster_whole for turn in done),
                        # Each reads the whole roster: the same bad lines.
                        roster_faults=max(turn.roster_faults for turn in done),
                        persons_not_sent=sum(turn.persons_not_sent for turn in done),
                    )
            except WithheldError as error:
                await self._mark_withheld(connection, error.message)
                return error

        done = await self.database.write(work)
        code = ExitCode.WITHHELD if isinstance(done, WithheldError) else done.exit_code
        await self._end(code, progress)
        if isinstance(done, WithheldError):
            raise done
        return done

    async def interrupt(self, exit_code: ExitCode, reason: str, progress: RunProgress) -> None:
        """See ``RunStore.interrupt``. The run goes on as long as another shard works on it."""

        async def work(connection: AsyncConnection) -> None:
            await locked(self.database, connection, self.lease.tenant_id)
            await self.lease.renew(self.database, connection)
            if not await others_at(self.database, connection, self.lease, self.handle.run_id):
                now = self.database.runtime.now()
                await mark_interrupted(connection, self.handle.run_id, exit_code, reason, now)

        await self.database.write(work)
        await self._end(exit_code, progress)

    async def _ended(self, connection: AsyncConnection) -> Publication | WithheldError | None:
        """How the run has ended, if an earlier commit of ours came through unheard."""
        row = (
            await connection.execute(
                select(run.c.status, run.c.reason).where(run.c.run_id == self.handle.run_id)
            )
        ).one()
        if row.status == RunStatus.WITHHELD:
            return WithheldError(row.reason)
        return await self.publisher.published(connection)

    async def _note_done(
        self, connection: AsyncConnection, *, may_depart: bool, progress: RunProgress
    ) -> None:
        await connection.execute(
            update(attempt)
            .where(attempt.c.attempt_id == self.handle.attempt_id)
            .values(
                is_done=True,
                roster_whole=may_depart,
                roster_faults=progress.roster_faults,
                persons_not_sent=progress.persons_not_sent,
                requests=progress.requests,
                retries=progress.retries,
            )
        )

    async def _has_gaps(self, connection: AsyncConnection) -> bool:
        """Whether anything that was this shard's to read could not be read."""
        turn = attempt.c.attempt_id == self.handle.attempt_id
        faults = (
            await connection.execute(select(attempt.c.roster_faults).where(turn))
        ).scalar_one()
        unread = await connection.execute(
            select(person_area.c.person_id)
            .where(
                person_area.c.run_id == self.handle.run_id,
                person_area.c.attempt_id == self.handle.attempt_id,
                ~person_area.c.is_complete,
            )
            .limit(1)
        )
        return bool(faults) or unread.first() is not None

    async def _mark_withheld(self, connection: AsyncConnection, reason: str) -> None:
        """All have done their part: nobody writes of this run any more but who takes it back."""
        await connection.execute(
            update(run)
            .where(run.c.run_id == self.handle.run_id)
            .values(
                status=RunStatus.WITHHELD,
                finished_at=self.database.runtime.now(),
                exit_code=ExitCode.WITHHELD,
                reason=reason,
            )
        )
