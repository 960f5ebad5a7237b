"""The single writer: finished persons in, transactions out."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from worker.core.guard import GuardFacts, stops_early
from worker.core.model import PersonRead
from worker.core.run import RunProgress
from worker.errors import WithheldError
from worker.ports import RunStore
from worker.sync.line import Line
from worker.sync.options import RunOptions
from worker.sync.reading import is_whole


@dataclass(slots=True, kw_only=True)
class Writer:
    """Gathers finished persons into batches and writes them.

    Attributes:
        pending: keys handed out and not yet committed, shared with the producer.
        changed: called after each batch, for the progress bar.
    """

    store: RunStore
    options: RunOptions
    progress: RunProgress
    pending: set[str]
    changed: Callable[[RunProgress], None]

    async def write(self, done: Line[PersonRead]) -> None:
        """Write until the line is over; what stands in it when it is closed is written too.

        Raises:
            WithheldError: so much has been removed that reading on makes no sense.
            LeaseLostError: another holder took over.
        """
        batch_persons = self.options.batch_persons
        while not done.is_over:
            await done.wait_for(1)
            with anyio.move_on_after(self.options.flush_s):
                await done.wait_for(batch_persons)
            await self._flush(done.take_up_to(batch_persons))

    async def _flush(self, batch: list[PersonRead]) -> None:
        if not batch:
            return
        result = await self.store.apply(batch)
        for read in batch:
            self.pending.discard(read.person.person_key)
            if is_whole(read):
                self.progress.persons_complete += 1
            else:
                self.progress.persons_with_gaps += 1
        self.progress.rows_written += result.opened + result.closed
        self.progress.removed += result.removed
        self.changed(self.progress)
        await self._guard()

    async def _guard(self) -> None:
        facts = self._facts(self.progress.removed, self.progress.removed)
        if not stops_early(facts, self.options.limits):
            return
        removed, affected = await self.store.removed_so_far()
        if stops_early(self._facts(removed, affected), self.options.limits):
            raise WithheldError(
                f"withheld before the end, the last published state stands: {removed} of "
                f"{facts.open_before} open restrictions of {affected} persons would already close "
                f"(sync.max_removed_share is {self.options.limits.max_removed_share:.0%})",
                hint="look at what changed; if it is right, `pts-worker sync --accept-removals`",
            )

    def _facts(self, removed: int, affected: int) -> GuardFacts:
        handle = self.store.handle
        return GuardFacts(
            open_before=handle.open_before,
            holders_before=handle.holders_before,
            persons_before=handle.persons_before,
            removed=removed,
            persons_affected=affected,
            departing=0,
            areas_attempted=0,
            areas_complete=0,
            is_subset=handle.kind == "backfill",
        )
