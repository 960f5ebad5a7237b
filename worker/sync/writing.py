"""The single writer: batches finished persons and writes one transaction at a time.

Persons arrive on two streams: after their first read, and after a second read.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from worker.core.guard import GuardFacts, stops_early
from worker.core.model import PersonRead
from worker.core.run import RunProgress
from worker.errors import WithheldError
from worker.ports import RunStore
from worker.sync.confirmation import Confirmations
from worker.sync.options import RunOptions
from worker.sync.reading import is_complete
from worker.sync.streams import receive

_FLUSH_S: Final = 2.0
"""Maximum age of a partial batch before it is written, so that a kill loses little."""


@dataclass(slots=True, kw_only=True)
class Writer:
    """Gathers finished persons into batches and writes them.

    Attributes:
        confirmations: persons who wait for a second read.
        pending: keys handed out but not committed, shared with the producer.
    """

    store: RunStore
    options: RunOptions
    progress: RunProgress
    pending: set[str]
    changed: Callable[[RunProgress], None]
    confirmations: Confirmations
    _batches: anyio.Lock = field(default_factory=anyio.Lock)

    async def write(self, reads: MemoryObjectReceiveStream[PersonRead]) -> None:
        """Write until the stream ends.

        Raises:
            WithheldError: the guard would withhold the run, so reading on is pointless.
            LeaseLostError: another process took the lease.
        """
        room = await self.confirmations.room()
        while batch := await self._gather(reads, min(self.options.batch_persons, room)):
            await self._flush(batch)
            room = await self.confirmations.room()

    async def write_decided(self, decided: MemoryObjectReceiveStream[PersonRead]) -> None:
        """Write persons after their second read; does not wait for room."""
        while batch := await self._gather(decided, self.options.batch_persons):
            await self._flush(batch)

    async def _gather(
        self, reads: MemoryObjectReceiveStream[PersonRead], most: int
    ) -> list[PersonRead]:
        """Collect persons for at most ``_FLUSH_S``; empty at the end of the stream."""
        read = await receive(reads)
        if read is None:
            return []
        batch = [read]
        with anyio.move_on_after(_FLUSH_S):
            while len(batch) < most and (read := await receive(reads)) is not None:
                batch.append(read)
        return batch

    async def _flush(self, batch: list[PersonRead]) -> None:
        async with self._batches:
            await self._write(batch)

    async def _write(self, batch: list[PersonRead]) -> None:
        result = await self.store.apply(batch)
        held = {item.read.person.person_key for item in result.unconfirmed}
        written = [read for read in batch if read.person.person_key not in held]
        self.confirmations.written(written)
        self.confirmations.hold(result.unconfirmed)
        for read in written:
            self.pending.discard(read.person.person_key)
            if is_complete(read):
                self.progress.persons_complete += 1
            else:
                self.progress.persons_with_gaps += 1
        self.progress.rows_written += result.opened + result.closed
        self.progress.removed += result.removed
        self.changed(self.progress)
        await self._guard()

    async def _guard(self) -> None:
        """Stop the run early if its removals would be withheld anyway.

        Claims of first reads count once a sample of second reads has confirmed them.
        """
        claims = self.confirmations.claims
        claimed = sum(claims.values())
        most = self.progress.removed + claimed
        facts = self._facts(most, most)
        if not stops_early(facts, self.options.limits):
            self.confirmations.trust()
            return
        removed, affected = await self.store.removed_so_far()
        removed, affected = removed + claimed, affected + len(claims)
        if not stops_early(self._facts(removed, affected), self.options.limits):
            self.confirmations.trust()
        elif claims and not self.confirmations.is_believed:
            self.confirmations.doubt()
        else:
            raise WithheldError(
                f"withheld early; the published state is unchanged: {removed} of "
                f"{facts.open_before} open restrictions of {affected} persons would already close "
                f"(sync.max_removed_share is {self.options.limits.max_removed_share:.0%})",
                hint="check what changed; if it is correct, run "
                "`pts-worker sync --accept-removals`",
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
