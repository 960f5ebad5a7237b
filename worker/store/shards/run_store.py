"""``worker.ports.RunStore`` for one shard of a run that several processes share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.guard import GuardLimits
from worker.core.model import PersonRead, RunStatus
from worker.core.run import BatchResult, Publication, RunProgress, ShardFinished
from worker.core.sharding import Shard
from worker.errors import ExitCode, WithheldError
from worker.ports import RateBudget
from worker.store.runs.ledger import counts_of, mark_interrupted, update_attempt
from worker.store.runs.publication import RosterRead, publication_of, publish_run
from worker.store.runs.run_store import SqlRunStore
from worker.store.runs.undo import end_run
from worker.store.schema.tables import attempt, person_area, run
from worker.store.shards.assignments import has_other_live_shards, last_attempts
from worker.store.shards.rate_shares import balance
from worker.store.writes.notes import AgreedRecordKeys


@dataclass(slots=True, kw_only=True)
class ShardRunStore(SqlRunStore):
    """A shard's store. Its writes are fenced by the shard's own lease.

    Attributes:
        keys: makes all shards use the same record keys.
        budget: limits this shard's requests to PTS.
    """

    shard: Shard
    keys: AgreedRecordKeys
    budget: RateBudget

    async def apply(self, batch: Sequence[PersonRead]) -> BatchResult:
        """See ``RunStore.apply``."""
        return await SqlRunStore.apply(self, await self.keys.agreed(batch))

    async def renew(self) -> None:
        """See ``RunStore.renew``. Also adjusts this shard's share of the request ceiling."""
        await balance(self.lease, self.budget, shards=self.shard.count)

    async def removed_so_far(self) -> tuple[int, int]:
        """Always zero: the last shard applies the guard, to the complete run."""
        return 0, 0

    async def publish(
        self,
        limits: GuardLimits,
        *,
        may_depart: bool,
        progress: RunProgress,
    ) -> Publication | ShardFinished:
        """Mark this shard as done; the last shard publishes or withholds the run.

        This is one transaction: it can be repeated when a commit's acknowledgement was lost, and
        no shard joins the run between the decision and its end.
        """

        async def work(connection: AsyncConnection) -> Publication | ShardFinished | WithheldError:
            ended = await self._ended(connection)
            if ended is not None:
                return ended
            await update_attempt(
                connection,
                self.handle,
                is_done=True,
                roster_whole=may_depart,
                **counts_of(progress),
            )
            attempts = (await last_attempts(connection, self.handle.run_id)).values()
            done = [last for last in attempts if last.is_done]
            if len(done) < self.shard.count:
                code = ExitCode.GAPS if await self._has_failures(connection) else ExitCode.OK
                return ShardFinished(shard=self.shard, done=len(done), exit_code=code)
            roster = RosterRead(
                seen_by_attempts=tuple(sorted(last.attempt_id for last in done)),
                may_depart=all(last.roster_whole for last in done),
                # Every shard reads the complete roster and counts the same errors.
                faults=max(last.roster_faults for last in done),
                persons_not_sent=sum(last.persons_not_sent for last in done),
            )
            try:
                async with connection.begin_nested():
                    return await publish_run(connection, self.database, self.handle, limits, roster)
            except WithheldError as error:
                # All shards are done: only an undo still writes to this run.
                await end_run(
                    connection,
                    self.handle.run_id,
                    RunStatus.WITHHELD,
                    self.database.runtime.now(),
                    exit_code=ExitCode.WITHHELD,
                    reason=error.message,
                )
                return error

        done = await self.lease.write_alone(work)
        code = ExitCode.WITHHELD if isinstance(done, WithheldError) else done.exit_code
        await self._end(code, progress)
        if isinstance(done, WithheldError):
            raise done
        return done

    async def interrupt(
        self,
        exit_code: ExitCode,
        reason: str,
        progress: RunProgress,
        *,
        not_before: datetime | None = None,
    ) -> None:
        """See ``RunStore.interrupt``. The run continues while another shard works on it."""

        async def work(connection: AsyncConnection) -> None:
            run_id = self.handle.run_id
            if not await has_other_live_shards(connection, self.lease, run_id):
                now = self.database.runtime.now()
                await mark_interrupted(connection, run_id, exit_code, reason, now)

        await self.lease.write_alone(work)
        await self._end(exit_code, progress, not_before)

    async def _ended(self, connection: AsyncConnection) -> Publication | WithheldError | None:
        """How the run ended, if an earlier commit of this call succeeded unacknowledged."""
        row = (
            await connection.execute(
                select(run.c.status, run.c.reason).where(run.c.run_id == self.handle.run_id)
            )
        ).one()
        if row.status == RunStatus.WITHHELD:
            return WithheldError(row.reason)
        return await publication_of(connection, self.handle.run_id)

    async def _has_failures(self, connection: AsyncConnection) -> bool:
        """Whether this shard has roster errors or areas that it could not read."""
        own_attempt = attempt.c.attempt_id == self.handle.attempt_id
        roster_errors = (
            await connection.execute(select(attempt.c.roster_faults).where(own_attempt))
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
        return bool(roster_errors) or unread.first() is not None
