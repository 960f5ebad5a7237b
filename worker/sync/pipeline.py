"""Runs the producer, readers, the writer and lease renewal as concurrent tasks, in passes.

Who failed is asked again when a pass has ended. Then the second pass reads those again whose first
read would close something.

On the first ``WorkerError`` the readers are cancelled, the writer still writes every finished
person, and the error is returned. A ``WorkerError`` never surfaces as an exception group.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from worker.core.diff import Confirm
from worker.core.guard import GuardLimits
from worker.core.model import CompleteArea, PersonRead, RunKind
from worker.core.run import RunProgress
from worker.core.value import Value
from worker.errors import LeaseLostError, StoppedError, WorkerError
from worker.ports import Runtime
from worker.store.runs.run_store import RunStore
from worker.sync.breaker import WAITING_S_MAX
from worker.sync.producer import PersonTask, Producer
from worker.sync.reading import PersonReader
from worker.sync.streams import receive, send

log = structlog.get_logger(__name__)

BATCH_PERSONS: Final = 250
"""At most so many are written in one transaction. More would make no run faster, and a kill would
cost more."""
_FLUSH_S: Final = 2.0
"""Maximum age of a partial batch before it is written, so that a kill loses little."""
_GRACE_S: Final = 4.0
"""Time that reads in flight have to finish after a stop request."""
_LAPS_MAX: Final = 3
"""So often who failed is asked again, if there was an outage each time."""
_NEXT: Final = "the next `pts-worker sync` continues"
_AGAIN: Final = "start the backfill again: it begins anew, and nothing of it was published"


class RunOptions(Value, frozen=True, kw_only=True):
    """The limits of one run.

    Attributes:
        persons_concurrent: persons read at the same time, each with one request in flight.
        renew_s: interval of lease renewals while nothing is written.
        deadline_s: the run stops after this long; ``None``: never.
        confirm: what two reads must agree on.
        confirm_after_s: least time between them, in which a lagging replica or a cache catches up.
        patience_s: how long nobody can be read before a verdict ends a run that was ever answered.
        retry_after_s_max: the longest ``Retry-After`` that the run waits for.
    """

    persons_concurrent: int
    renew_s: float = 10.0
    deadline_s: float | None = None
    confirm: Confirm = Confirm.REMOVALS
    confirm_after_s: float = 10.0
    limits: GuardLimits
    patience_s: float = 600.0
    retry_after_s_max: float = 900.0
    sends_h_numbers: bool = False


Feed: TypeAlias = Callable[[MemoryObjectSendStream[PersonTask]], Awaitable[None]]
"""Hands out the tasks of one pass."""


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """The tasks of one run.

    Attributes:
        stop: set to stop the run (SIGTERM, SIGINT).
        _waiting_since_s: when the last first read was written that waits for its second.
    """

    producer: Producer
    reader: PersonReader
    store: RunStore
    options: RunOptions
    runtime: Runtime
    progress: RunProgress
    stop: anyio.Event
    changed: Callable[[RunProgress], None]
    _ending: WorkerError | None = None
    _waiting_since_s: float = 0.0
    _feeding: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _reading: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def work(self) -> WorkerError | None:
        """Read and write everyone; return the error that ended it early, or ``None``."""
        self._waiting_since_s = self.runtime.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_lease)
            group.start_soon(self._watch)
            await self._pass(self.producer.feed)
            await self._ask_again()
            if await self._is_second_pass_due():
                await self._pass(self.producer.feed_again)
                await self._ask_again()
            group.cancel_scope.cancel()
        return self._ending

    async def _is_second_pass_due(self) -> bool:
        """Whether first reads wait for their second; if so, when it is time for these."""
        if self._ending is not None:
            return False
        try:
            persons = await self.store.waiting()
        except WorkerError as error:
            self._end(error)
            return False
        if not persons:
            return False
        log.info("run.second_pass", run=self.store.handle.run_id, persons=persons)
        due_s = self._waiting_since_s + self.options.confirm_after_s
        with anyio.CancelScope() as self._feeding:
            await self.runtime.sleep(max(0.0, due_s - self.runtime.monotonic()))
        return self._ending is None

    async def _pass(self, feed: Feed) -> None:
        reads_in, reads = anyio.create_memory_object_stream[PersonRead](BATCH_PERSONS)
        async with anyio.create_task_group() as writing:
            writing.start_soon(self._write, reads)
            with reads_in:
                await self._read(reads_in, feed)
        await self._settle()

    async def _read(self, reads: MemoryObjectSendStream[PersonRead], feed: Feed) -> None:
        count = self.options.persons_concurrent
        tasks_in, tasks = anyio.create_memory_object_stream[PersonTask](count)
        with anyio.CancelScope() as self._reading, tasks:
            async with anyio.create_task_group() as readers:
                readers.start_soon(self._feed, feed, tasks_in)
                for _ in range(count):
                    readers.start_soon(self._read_persons, tasks, reads)

    async def _feed(self, feed: Feed, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        try:
            with anyio.CancelScope() as self._feeding, tasks:
                await feed(tasks)
        except WorkerError as error:
            self._end(error)

    async def _read_persons(
        self,
        tasks: MemoryObjectReceiveStream[PersonTask],
        reads: MemoryObjectSendStream[PersonRead],
    ) -> None:
        try:
            while (task := await receive(tasks)) is not None:
                for read in await self.reader.read(task):
                    if not await send(reads, read):
                        return  # the writer has ended and reported its error
                if self.reader.breaker.ending is not None:
                    raise self.reader.breaker.ending
        except WorkerError as error:
            self._end(error)

    async def _settle(self) -> None:
        """Find out about the last ones who failed."""
        if self._ending is not None:
            return
        try:
            with anyio.CancelScope() as self._reading:
                await self.reader.breaker.settle()
        except WorkerError as error:
            self._end(error)

    async def _ask_again(self) -> None:
        """Ask those again who failed, and once more after an outage; the rest are theirs."""
        aside, breaker = self.reader.aside, self.reader.breaker
        for _ in range(_LAPS_MAX):
            outages = breaker.outages
            if aside and self._ending is None:
                await self._pass(self._feed_aside)
            if breaker.outages == outages:
                break
        if isinstance(self._ending, StoppedError):
            return  # the next attempt asks them
        failed = [self.reader.give_up(task) for task in tuple(aside.values())]
        try:
            for start in range(0, len(failed), BATCH_PERSONS):
                await self._write_batch(failed[start : start + BATCH_PERSONS])
        except WorkerError as error:
            self._end(error)

    async def _feed_aside(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        """Hand out those who failed, each when PTS wants to be asked for them again."""
        left_s, aside = self.reader.breaker.left_s, self.reader.aside
        for task in sorted(aside.values(), key=lambda task: left_s(task.person)):
            wait_s = left_s(task.person)
            if wait_s <= WAITING_S_MAX:
                await self.runtime.sleep(max(0.0, wait_s))
                self.producer.pending.add(task.person.person_key)
                del aside[task.person.person_key]
                await send(tasks, task)

    async def _write(self, reads: MemoryObjectReceiveStream[PersonRead]) -> None:
        """Write finished persons in batches, one transaction at a time."""
        try:
            with reads:
                while batch := await self._gather(reads):
                    await self._write_batch(batch)
        except WorkerError as error:
            self._end(error)

    async def _gather(self, reads: MemoryObjectReceiveStream[PersonRead]) -> list[PersonRead]:
        """Collect persons for at most ``_FLUSH_S``; empty at the end of the stream."""
        read = await receive(reads)
        if read is None:
            return []
        batch = [read]
        with anyio.move_on_after(_FLUSH_S):
            while len(batch) < BATCH_PERSONS:
                read = await receive(reads)
                if read is None:
                    break
                batch.append(read)
        return batch

    async def _write_batch(self, batch: Sequence[PersonRead]) -> None:
        waiting = await self.store.apply(batch)
        if waiting:
            self._waiting_since_s = self.runtime.monotonic()
        for read in batch:
            self.producer.pending.discard(read.person.person_key)
            if read.person.person_key in self.reader.aside:
                continue  # counted when all areas are decided
            if not all(isinstance(area, CompleteArea) for area in read.areas):
                self.progress.persons_with_gaps += 1
            elif read.person.person_key not in waiting:
                self.progress.persons_complete += 1
        self.changed(self.progress)

    async def _keep_lease(self) -> None:
        while True:
            await self.runtime.sleep(self.options.renew_s)
            try:
                await self.store.renew()
            except WorkerError as error:
                self._end(error)
                return

    async def _watch(self) -> None:
        """End the run on request or at its deadline, with a grace period for reads in flight."""
        ending = StoppedError("stopped on request; what was read is kept", hint=_NEXT)
        with anyio.move_on_after(self.options.deadline_s) as limit:
            await self.stop.wait()
        if limit.cancelled_caught:
            ending = StoppedError("stopped at sync.deadline; what was read is kept", hint=_NEXT)
        if self.store.handle.kind == RunKind.BACKFILL:
            ending = StoppedError(ending.message.partition(";")[0], hint=_AGAIN)
        log.info("run.stopping", reason=ending.message)
        if self._ending is None:
            self._ending = ending
        self._feeding.cancel()
        await self.runtime.sleep(_GRACE_S)
        self._stop_reading()

    def _end(self, error: WorkerError) -> None:
        """Keep the first error and stop reading; a lost lease replaces any other error."""
        if self._ending is None or isinstance(error, LeaseLostError):
            self._ending = error
        self._stop_reading()

    def _stop_reading(self) -> None:
        self._feeding.cancel()
        self._reading.cancel()
