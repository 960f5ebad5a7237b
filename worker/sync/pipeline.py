"""Runs the producer, readers, writer and lease renewal as concurrent tasks.

On the first ``WorkerError`` the readers are cancelled, the writer still writes every finished
person, and the error is returned. A ``WorkerError`` never surfaces as an exception group.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from worker.core.model import PersonRead, RunKind
from worker.core.run import RunProgress
from worker.errors import LeaseLostError, StoppedError, WorkerError
from worker.ports import RunStore, Runtime
from worker.sync.confirmation import Confirmations
from worker.sync.judge import Judge
from worker.sync.options import RunOptions
from worker.sync.producer import PersonTask, Producer
from worker.sync.reading import PersonReader
from worker.sync.streams import receive, send
from worker.sync.writing import Writer

log = structlog.get_logger(__name__)

_WAITING_MAX: Final = 100
"""Readers that may wait while others stand in for them; each holds one person."""
_GRACE_S: Final = 4.0
"""Time that reads in flight have to finish after a stop request."""
_NEXT: Final = "the next `pts-worker sync` continues"
_AGAIN: Final = "start the backfill again: it begins anew, and nothing of it was published"


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """The tasks of one run.

    Attributes:
        confirmations: persons who wait for a second read.
        stop: set to stop the run (SIGTERM, SIGINT).
    """

    producer: Producer
    reader: PersonReader
    judge: Judge
    confirmations: Confirmations
    store: RunStore
    options: RunOptions
    runtime: Runtime
    progress: RunProgress
    stop: anyio.Event
    changed: Callable[[RunProgress], None]
    _ending: WorkerError | None = None
    _readers: int = 0
    _feeding: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _reading: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _confirming: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def work(self) -> WorkerError | None:
        """Read and write everyone; return the error that ended it early, or ``None``."""
        reads_in, reads = anyio.create_memory_object_stream[PersonRead](self.options.batch_persons)
        decided_in, decided = anyio.create_memory_object_stream[PersonRead](
            self.options.batch_persons
        )
        writer = Writer(
            store=self.store,
            options=self.options,
            progress=self.progress,
            pending=self.producer.pending,
            changed=self.changed,
            confirmations=self.confirmations,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_lease)
            group.start_soon(self._watch)
            group.start_soon(self.judge.watch)
            async with anyio.create_task_group() as writing:
                writing.start_soon(self._write, writer, reads)
                writing.start_soon(self._write_decided, writer, decided)
                writing.start_soon(self._confirm, decided_in)
                with reads_in:
                    await self._read(reads_in)
            group.cancel_scope.cancel()
        return self._ending

    async def _read(self, reads: MemoryObjectSendStream[PersonRead]) -> None:
        count = self.options.persons_concurrent
        tasks_in, tasks = anyio.create_memory_object_stream[PersonTask](count)
        with self._reading, tasks:
            async with anyio.create_task_group() as readers:
                readers.start_soon(self._feed, tasks_in)

                def stand_in() -> None:
                    if self._is_missing:
                        self._readers += 1
                        readers.start_soon(self._read_persons, tasks, reads)

                for _ in range(count):
                    stand_in()
                self.reader.evidence.stands_in = stand_in
        self.reader.evidence.stands_in = lambda: None

    @property
    def _is_missing(self) -> bool:
        """Whether fewer persons are read than may be, because readers wait."""
        waiting = min(self.reader.evidence.waiting, _WAITING_MAX)
        return self._readers - waiting < self.options.persons_concurrent

    async def _feed(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        try:
            with self._feeding, tasks:
                await self.producer.feed(tasks)
        except WorkerError as error:
            self._end(error)

    async def _read_persons(
        self,
        tasks: MemoryObjectReceiveStream[PersonTask],
        reads: MemoryObjectSendStream[PersonRead],
    ) -> None:
        try:
            await self._read_on(tasks, reads)
        finally:
            self._readers -= 1

    async def _read_on(
        self,
        tasks: MemoryObjectReceiveStream[PersonTask],
        reads: MemoryObjectSendStream[PersonRead],
    ) -> None:
        while (task := await self._next(tasks)) is not None:
            try:
                read, ending = await self.reader.read(task)
            except WorkerError as error:
                self._end(error)
                return
            if not await send(reads, read):
                return  # the writer has ended and reported its error
            if ending is not None:
                self._end(ending)
                return
            if self._is_too_many:
                return  # it has waited, and another stood in for it
        if self._readers - 1 <= self.reader.evidence.waiting:
            self.reader.evidence.roster_ended()

    @property
    def _is_too_many(self) -> bool:
        return self._readers - self.reader.evidence.waiting > self.options.persons_concurrent

    async def _next(self, tasks: MemoryObjectReceiveStream[PersonTask]) -> PersonTask | None:
        await self.confirmations.may_read_on()
        return await receive(tasks)

    async def _write(self, writer: Writer, reads: MemoryObjectReceiveStream[PersonRead]) -> None:
        try:
            with reads:
                await writer.write(reads)
        except WorkerError as error:
            self._end(error)
        finally:
            self.confirmations.close()

    async def _confirm(self, decided: MemoryObjectSendStream[PersonRead]) -> None:
        """Make second reads until the writer has received every first read."""
        try:
            with self._confirming, decided:
                async with anyio.create_task_group() as readers:
                    for _ in range(self.options.persons_concurrent):
                        readers.start_soon(self._confirm_persons, decided)
        finally:
            self.confirmations.abandon()

    async def _confirm_persons(self, decided: MemoryObjectSendStream[PersonRead]) -> None:
        try:
            ending = await self.confirmations.work(decided)
        except WorkerError as error:
            ending = error
        if ending is not None:
            self._end(ending)

    async def _write_decided(
        self, writer: Writer, decided: MemoryObjectReceiveStream[PersonRead]
    ) -> None:
        try:
            with decided:
                await writer.write_decided(decided)
        except WorkerError as error:
            self._end(error)

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
        self._reading.cancel()
        self._confirming.cancel()
