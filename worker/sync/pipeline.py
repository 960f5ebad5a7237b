"""Runs the producer, readers, the writer and lease renewal as concurrent tasks, in passes.

A reader takes one person after the other, and reads the areas in sequence. An area that fails does
not end the run: it is set aside, and asked again when the pass has ended. Then the second pass
reads those again whose first read would close something.

On the first ``WorkerError`` the readers are cancelled, the writer still writes every finished
person, and the error is returned. A ``WorkerError`` never surfaces as an exception group.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec.structs import replace

from worker.config.settings import Sync
from worker.core.area import area_named
from worker.core.diff import Confirm, compared
from worker.core.identity import short_key
from worker.core.model import AreaFailure, AreaRead, CompleteArea, PersonRead, RunKind
from worker.core.run import RunProgress
from worker.errors import AreaError, LeaseLostError, StoppedError, WorkerError
from worker.ports import Runtime
from worker.store.runs.run_store import RunStore
from worker.sync.breaker import Breaker
from worker.sync.producer import PersonTask, Producer, receive, send

log = structlog.get_logger(__name__)

BATCH_PERSONS: Final = 250
"""At most so many are written in one transaction. More would make no run faster, and a kill would
cost more."""
_FLUSH_S: Final = 2.0
"""Maximum age of a partial batch before it is written, so that a kill loses little."""
_GRACE_S: Final = 4.0
"""Time that reads in flight have to finish after a stop request."""
_ASIDE_MAX: Final = 1_000
"""Persons who are kept to be asked again. If more fail, their trouble is hardly a hiccup."""
_NEXT: Final = "the next `pts-worker sync` continues"
_AGAIN: Final = "start the backfill again: it begins anew, and nothing of it was published"

Feed: TypeAlias = Callable[[MemoryObjectSendStream[PersonTask]], Awaitable[None]]
"""Hands out the tasks of one pass."""


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """The tasks of one run.

    Attributes:
        stop: set to stop the run (SIGTERM, SIGINT).
        _aside: who failed and is asked again, by their key.
        _waiting_since_s: when the last first read was written that waits for its second.
    """

    producer: Producer
    breaker: Breaker
    store: RunStore
    settings: Sync
    runtime: Runtime
    progress: RunProgress
    stop: anyio.Event
    changed: Callable[[], None]
    _ending: WorkerError | None = None
    _aside: dict[str, PersonTask] = field(default_factory=dict)
    _waiting_since_s: float = 0.0
    _feeding: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _reading: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def work(self) -> WorkerError | None:
        """Read and write everyone; return the error that ended it early, or ``None``."""
        self._waiting_since_s = self.runtime.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_lease)
            group.start_soon(self._watch)
            for feed in (self.producer.feed, self._feed_again):
                await self._pass(feed)
                await self._pass(self._feed_aside)
            group.cancel_scope.cancel()
        return self._ending

    async def _pass(self, feed: Feed) -> None:
        """Read and write those whom it hands out."""
        if self._ending is not None:
            return
        reads_in, reads = anyio.create_memory_object_stream[PersonRead](BATCH_PERSONS)
        async with anyio.create_task_group() as writing:
            writing.start_soon(self._write, reads)
            with reads_in:
                await self._read(reads_in, feed)

    async def _read(self, reads: MemoryObjectSendStream[PersonRead], feed: Feed) -> None:
        count = self.settings.concurrency
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

    async def _feed_again(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        """Hand out those whose first read waits for its second, when it is time for these."""
        if persons := await self.store.waiting():
            log.info("run.second_pass", run=self.store.handle.run_id, persons=persons)
            due_s = self._waiting_since_s + self.settings.confirm_after.total_seconds()
            await self.runtime.sleep(max(0.0, due_s - self.runtime.monotonic()))
            await self.producer.feed_again(tasks)

    async def _feed_aside(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        """Hand out those who failed."""
        for key in tuple(self._aside):
            await send(tasks, self._aside.pop(key))

    async def _read_persons(
        self,
        tasks: MemoryObjectReceiveStream[PersonTask],
        reads: MemoryObjectSendStream[PersonRead],
    ) -> None:
        try:
            while (task := await receive(tasks)) is not None:
                areas = await self._read_person(task)
                read = PersonRead(person=task.person, areas=areas)
                if areas and not await send(reads, read):
                    return  # the writer has ended and reported its error
                if self.breaker.ending is not None:
                    raise self.breaker.ending
        except WorkerError as error:
            self._end(error)

    async def _read_person(self, task: PersonTask) -> tuple[AreaRead, ...]:
        """What was read, and the failures that stand: of somebody who is not asked again."""
        reads: list[AreaRead] = []
        failed: dict[str, AreaFailure] = {}
        for name in task.areas:
            try:
                reads.append(await self._read_area(task, name))
            except AreaError as error:
                failure = self._failure(task, name, error)
                task = replace(task, due_s=max(task.due_s, error.due_s))
                if self.breaker.areas[name].given_up:
                    reads.append(self._counted(task, failure))
                else:
                    failed[name] = failure
            if self.breaker.ending is not None:
                break
        if failed and not task.failed and len(self._aside) < _ASIDE_MAX:
            again = replace(task, areas=tuple(failed), failed=failed)
            self._aside[task.person.person_key] = again
        else:
            reads += [self._counted(task, failure) for failure in failed.values()]
        return tuple(reads)

    async def _read_area(self, task: PersonTask, name: str) -> AreaRead:
        """An area; if it is the second read, on a new connection, with both in its proof."""
        first = task.first.get(name)
        read = await self.breaker.read(task, name)
        if first is None:
            self.progress.areas_complete += 1
            return read
        found = compared(area_named(name), first, read, Confirm(self.settings.confirm))
        return self._counted(task, found) if isinstance(found, AreaFailure) else found

    def _failure(self, task: PersonTask, name: str, error: AreaError) -> AreaFailure:
        before = task.failed.get(name)
        return AreaFailure(
            area=name,
            kind=error.kind,
            reason=error.message,
            attempts=error.attempts + (before.attempts if before else 0),
            failed_at=self.runtime.now(),
            status=error.status,
        )

    def _counted(self, task: PersonTask, failure: AreaFailure) -> AreaFailure:
        """Count and log a failure that stands."""
        self.progress.failures[failure.kind] += 1
        if not self.progress.first_failure:
            self.progress.first_failure = f"{failure.area}: {failure.reason}"
        log.warning(
            "area.unread",
            person=short_key(task.person.person_key) or "(plain)",
            area=failure.area,
            kind=failure.kind.value,
            status=failure.status,
            reason=failure.reason,
            attempts=failure.attempts,
        )
        return failure

    async def _write(self, reads: MemoryObjectReceiveStream[PersonRead]) -> None:
        """Write finished persons in batches, one transaction at a time."""
        try:
            with reads:
                while (read := await receive(reads)) is not None:
                    batch = [read]
                    with anyio.move_on_after(_FLUSH_S):
                        while len(batch) < BATCH_PERSONS and (more := await receive(reads)):
                            batch.append(more)
                    await self._write_batch(batch)
        except WorkerError as error:
            self._end(error)

    async def _write_batch(self, batch: Sequence[PersonRead]) -> None:
        waiting = await self.store.apply(batch)
        if waiting:
            self._waiting_since_s = self.runtime.monotonic()
        for read in batch:
            key = read.person.person_key
            if key in self._aside:
                continue  # counted when all areas are decided
            self.producer.pending.discard(key)
            if not all(isinstance(area, CompleteArea) for area in read.areas):
                self.progress.persons_with_gaps += 1
            elif key not in waiting:
                self.progress.persons_complete += 1
        self.changed()

    async def _keep_lease(self) -> None:
        while True:
            await self.runtime.sleep(self.store.lease.ttl_s / 5)
            try:
                await self.store.renew()
            except WorkerError as error:
                self._end(error)
                return

    async def _watch(self) -> None:
        """End the run on request or at its deadline, with a grace period for reads in flight."""
        deadline = self.settings.deadline
        with anyio.move_on_after(None if deadline is None else deadline.total_seconds()) as limit:
            await self.stop.wait()
        ending = StoppedError("stopped on request; what was read is kept", hint=_NEXT)
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
