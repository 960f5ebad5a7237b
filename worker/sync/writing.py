"""The single writer: batches finished persons and writes one transaction at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from worker.core.model import PersonRead
from worker.core.run import RunProgress
from worker.ports import RunStore, Runtime
from worker.sync.options import RunOptions
from worker.sync.reading import is_complete
from worker.sync.streams import receive

_FLUSH_S: Final = 2.0
"""Maximum age of a partial batch before it is written, so that a kill loses little."""


@dataclass(slots=True, kw_only=True)
class Writer:
    """Gathers finished persons into batches and writes them.

    Attributes:
        pending: keys handed out but not committed, shared with the producer.
        waiting_since_s: when the last first read was written that waits for its second.
    """

    store: RunStore
    options: RunOptions
    runtime: Runtime
    progress: RunProgress
    pending: set[str]
    changed: Callable[[RunProgress], None]
    waiting_since_s: float

    async def write(self, reads: MemoryObjectReceiveStream[PersonRead]) -> None:
        """Write until the stream ends.

        Raises:
            LeaseLostError: another process took the lease.
        """
        while batch := await self._gather(reads):
            waiting = await self.store.apply(batch)
            if waiting:
                self.waiting_since_s = self.runtime.monotonic()
            for read in batch:
                self.pending.discard(read.person.person_key)
                if not is_complete(read):
                    self.progress.persons_with_gaps += 1
                elif read.person.person_key not in waiting:
                    self.progress.persons_complete += 1
            self.changed(self.progress)

    async def _gather(self, reads: MemoryObjectReceiveStream[PersonRead]) -> list[PersonRead]:
        """Collect persons for at most ``_FLUSH_S``; empty at the end of the stream."""
        read = await receive(reads)
        if read is None:
            return []
        batch = [read]
        with anyio.move_on_after(_FLUSH_S):
            while len(batch) < self.options.batch_persons:
                read = await receive(reads)
                if read is None:
                    break
                batch.append(read)
        return batch
