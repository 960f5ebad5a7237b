"""Runs the producer, readers, the writer, probes and lease renewal as concurrent tasks.

A reader takes one person after the other, and reads the areas in sequence. A failed read is written
as a draft, like any other. The second pass reads again those persons whose first read would close
something, and those whose read failed. The third reads again what the second has left unconfirmed,
and its failures if there was an outage in it.

On the first ``WorkerError`` the readers are cancelled, and the writer still writes every finished
person. A ``WorkerError`` never surfaces as an exception group.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from worker.config.settings import Sync
from worker.core.area import area_named
from worker.core.diff import Confirm, compared
from worker.core.identity import short_key
from worker.core.model import AreaFailure, AreaRead, CompleteArea, PersonRead, RunKind
from worker.core.run import PASSES, RunProgress
from worker.errors import AreaError, LeaseLostError, NotAskedError, StoppedError, WorkerError
from worker.ports import Runtime
from worker.store.runs.run_store import RunStore
from worker.sync.producer import Pass, PersonTask, Producer, receive, send
from worker.sync.reading import AreaReader

log = structlog.get_logger(__name__)

BATCH_PERSONS: Final = 250
"""At most so many are written in one transaction. More would make no run faster, and a kill would
cost more."""
_FLUSH_S: Final = 2.0
"""Maximum age of a partial batch before it is written, so that a kill loses little."""
_GRACE_S: Final = 4.0
"""Time that reads in flight have to finish after a stop request."""
_NEXT: Final = "the next `pts-worker sync` continues"
_AGAIN: Final = "start the backfill again: nothing of it was kept or published"


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """The tasks of one run.

    Attributes:
        stop: set to stop the run (SIGTERM, SIGINT).
        changed: called after each batch.
        _left_s: when the last read was written that a later pass repeats; at first when this
            attempt began, because an earlier one may just have ended.
    """

    producer: Producer
    reader: AreaReader
    store: RunStore
    settings: Sync
    runtime: Runtime
    progress: RunProgress
    stop: anyio.Event
    changed: Callable[[], None]
    _ending: WorkerError | None = None
    _left_s: float = 0.0
    _feeding: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _reading: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def work(self) -> None:
        """Read and write everyone.

        Raises:
            WorkerError: the run ended early.
        """
        self._left_s = self.runtime.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(self._ending_with, self._keep_lease)
            group.start_soon(self._watch)
            for area in self.reader.breakers:
                group.start_soon(self._ending_with, self.reader.probe, area)
            await self._ending_with(self._passes)
            group.cancel_scope.cancel()
        if self._ending is not None:
            raise self._ending

    async def _ending_with(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a task. An error of it ends the run."""
        try:
            await task(*args)
        except WorkerError as error:
            self._end(error)

    # --- passes ---

    async def _passes(self) -> None:
        pass_ = Pass(number=1, areas=self.reader.areas)
        await self._pass(pass_)
        while self._ending is None and pass_.number < PASSES:
            pass_ = self._next(pass_)
            persons = await self.store.due(
                pass_.areas, pass_number=pass_.number, with_failures=pass_.with_failures
            )
            if not persons:
                return
            run_id = self.store.handle.run_id
            log.info("run.pass_started", run=run_id, number=pass_.number, persons=persons)
            await self._pass(pass_)

    def _next(self, pass_: Pass) -> Pass:
        """The second pass repeats failed reads; the third does after an outage."""
        breakers = self.reader.breakers.values()
        with_failures = pass_.number == 1 or any(breaker.had_outage for breaker in breakers)
        return Pass(
            number=pass_.number + 1,
            areas=self.reader.areas,
            with_failures=with_failures and self.reader.may_repeat_failures,
        )

    async def _pass(self, pass_: Pass) -> None:
        """Read and write the persons of a pass, until no breaker is open."""
        for breaker in self.reader.breakers.values():
            breaker.begin_pass()
        reads_in, reads = anyio.create_memory_object_stream[PersonRead](BATCH_PERSONS)
        async with anyio.create_task_group() as writing:
            writing.start_soon(self._ending_with, self._write, reads, pass_)
            with reads_in:
                await self._read(reads_in, pass_)

    async def _read(self, reads: MemoryObjectSendStream[PersonRead], pass_: Pass) -> None:
        count = self.settings.concurrency
        tasks_in, tasks = anyio.create_memory_object_stream[PersonTask](count)
        with anyio.CancelScope() as self._reading, tasks:
            async with anyio.create_task_group() as readers:
                readers.start_soon(self._ending_with, self._feed, tasks_in, pass_)
                for _ in range(count):
                    readers.start_soon(self._ending_with, self._read_persons, tasks, reads, pass_)
            if self._ending is None:
                await self.reader.end_pass()

    async def _feed(self, tasks: MemoryObjectSendStream[PersonTask], pass_: Pass) -> None:
        with anyio.CancelScope() as self._feeding, tasks:
            if pass_.number > 1:
                due_s = self._left_s + self.settings.confirm_after.total_seconds()
                await self.runtime.sleep(max(0.0, due_s - self.runtime.monotonic()))
            await self.producer.feed(tasks, pass_)

    # --- readers ---

    async def _read_persons(
        self,
        tasks: MemoryObjectReceiveStream[PersonTask],
        reads: MemoryObjectSendStream[PersonRead],
        pass_: Pass,
    ) -> None:
        while (task := await receive(tasks)) is not None:
            areas = [
                read for name in task.areas if (read := await self._outcome(task, name, pass_))
            ]
            if not areas:
                del self.producer.pending[task.person.person_key]
            elif not await send(reads, PersonRead(person=task.person, areas=tuple(areas))):
                return  # the writer has ended and reported its error

    async def _outcome(self, task: PersonTask, name: str, pass_: Pass) -> AreaRead | None:
        """An area of a person, or its failure; None if the failure of an earlier pass stands."""
        try:
            return await self._read_area(task, name, pass_)
        except NotAskedError as error:
            return None if name in task.failed else self._failure(name, error)
        except AreaError as error:
            failure = self._failure(name, error)
            log.warning(
                "area.unread",
                person=short_key(task.person.person_key) or "(plain)",
                area=name,
                kind=failure.kind.value,
                status=failure.status,
                reason=failure.reason,
                attempts=failure.attempts,
                run_pass=pass_.number,
            )
            return failure

    async def _read_area(self, task: PersonTask, name: str, pass_: Pass) -> CompleteArea:
        """An area; if it is the second read, with both reads in its proof."""
        first = task.first.get(name)
        read = await self.reader.read(
            task.person,
            name,
            is_first_pass=pass_.number == 1,
            is_second_read=first is not None,
        )
        if first is None:
            return read
        return compared(area_named(name), first, read, Confirm(self.settings.confirm))

    def _failure(self, name: str, error: AreaError) -> AreaFailure:
        return AreaFailure(
            area=name,
            kind=error.kind,
            reason=error.message,
            attempts=error.attempts,
            failed_at=self.runtime.now(),
            status=error.status,
        )

    # --- the writer ---

    async def _write(self, reads: MemoryObjectReceiveStream[PersonRead], pass_: Pass) -> None:
        """Write finished persons in batches, one transaction at a time."""
        with reads:
            while (read := await receive(reads)) is not None:
                batch = [read]
                with anyio.move_on_after(_FLUSH_S):
                    while len(batch) < BATCH_PERSONS and (more := await receive(reads)):
                        batch.append(more)
                await self._write_batch(batch, pass_)

    async def _write_batch(self, batch: Sequence[PersonRead], pass_: Pass) -> None:
        waiting = await self.store.apply(batch, pass_number=pass_.number)
        for read in batch:
            key = read.person.person_key
            task = self.producer.pending.pop(key)
            complete = [area for area in read.areas if isinstance(area, CompleteArea)]
            is_complete = len(complete) == len(task.areas)
            self.progress.persons_with_gaps += (not is_complete) - bool(task.failed)
            self.progress.persons_complete += is_complete and key not in waiting
            if key in waiting or not is_complete:
                self._left_s = self.runtime.monotonic()
        self.changed()

    # --- the end ---

    async def _keep_lease(self) -> None:
        while True:
            await self.runtime.sleep(self.store.lease.ttl_s / 5)
            await self.store.renew()

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
