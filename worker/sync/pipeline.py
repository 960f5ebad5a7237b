"""Runs the producer, readers, the writer, probes and lease renewal as concurrent tasks.

Each reader reads one person at a time, area by area. A failed read is written as a draft, like a
successful one.

On the first ``WorkerError`` the readers are cancelled, and the writer still writes all finished
persons. A ``WorkerError`` never surfaces as an exception group.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from worker.config.settings import Sync
from worker.core.area import area_named
from worker.core.diff import Confirm, confirmed
from worker.core.identity import short_key
from worker.core.model import AreaFailure, AreaRead, CompleteArea, PersonRead, RunKind
from worker.core.retry import instant_after
from worker.core.run import PASSES, Pass, RunProgress
from worker.errors import AreaError, LeaseLostError, NotRequestedError, StoppedError, WorkerError
from worker.ports import Runtime
from worker.store.runs.run_store import RunStore
from worker.sync.producer import PersonTask, Producer
from worker.sync.reading import AreaReader

log = structlog.get_logger(__name__)

BATCH_PERSONS: Final = 250
"""Maximum number of persons per transaction. Larger batches are no faster, and a kill would lose
more reads."""
_FLUSH_S: Final = 2.0
"""Maximum age of a partial batch before it is written, so that a kill loses little."""
_GRACE_S: Final = 4.0
"""Time that reads in flight have to finish after a stop request."""
_SYNC_HINT: Final = "the next `pts-worker sync` continues"
_BACKFILL_HINT: Final = "start the backfill again: nothing was kept or published"


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """The tasks of one run.

    Attributes:
        stop: set to stop the run (SIGTERM, SIGINT).
        _error: why the run ends early, if it does.
        _last_unfinished_s: when the last read that needs a later pass was written. Initially the
            start of this attempt, because an earlier attempt may have ended just before.
    """

    producer: Producer
    reader: AreaReader
    store: RunStore
    settings: Sync
    runtime: Runtime
    progress: RunProgress
    stop: anyio.Event
    _error: WorkerError | None = None
    _last_unfinished_s: float = 0.0
    _producer_scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _reader_scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def work(self) -> None:
        """Read and write all persons.

        Raises:
            WorkerError: the run ended early.
        """
        self._last_unfinished_s = self.runtime.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(self._run_task, self._renew_lease)
            group.start_soon(self._watch_for_stop)
            for area in self.reader.breakers:
                group.start_soon(self._run_task, self.reader.probe, area)
            await self._run_task(self._passes)
            # The tasks for the lease, the probes and the stop signal never end by themselves.
            group.cancel_scope.cancel()
        if self._error is not None:
            raise self._error

    async def _run_task(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a task. The first error ends the run, but a lost lease replaces any other error."""
        try:
            await task(*args)
        except WorkerError as error:
            if self._error is None or isinstance(error, LeaseLostError):
                self._error = error
            self._reader_scope.cancel()

    # --- passes ---

    async def _passes(self) -> None:
        await self._pass(self._new_pass(1))
        for number in range(2, PASSES + 1):
            pass_ = self._new_pass(number)
            persons = await self.store.count_due(pass_)
            # A later pass only confirms first reads and repeats failed ones.
            if self._error is not None or not persons:
                return
            run_id = self.store.handle.run_id
            log.info("run.pass_started", run=run_id, number=number, persons=persons)
            await self._pass(pass_)

    def _new_pass(self, number: int) -> Pass:
        breakers = self.reader.breakers.values()
        return Pass(
            number=number,
            pass_no=self.store.handle.pass_no(number),
            areas=self.reader.areas,
            begins_at=self.runtime.now() + timedelta(seconds=self._wait_before_pass_s()),
            outages=frozenset(breaker.area for breaker in breakers if breaker.had_outage),
        )

    def _wait_before_pass_s(self) -> float:
        """Seconds until the next pass may start (``sync.confirm_after``)."""
        due_s = self._last_unfinished_s + self.settings.confirm_after.total_seconds()
        return max(0.0, due_s - self.runtime.monotonic())

    async def _pass(self, pass_: Pass) -> None:
        """Read and write the persons of a pass, until no breaker is open."""
        reads_in, reads = anyio.create_memory_object_stream[PersonRead](BATCH_PERSONS)
        async with reads, anyio.create_task_group() as writing:
            writing.start_soon(self._run_task, self._write, reads, pass_)
            # Closing the stream lets the writer finish.
            with reads_in:
                await self._read(reads_in, pass_)

    async def _read(self, reads: MemoryObjectSendStream[PersonRead], pass_: Pass) -> None:
        concurrency = self.settings.concurrency
        tasks_in, tasks = anyio.create_memory_object_stream[PersonTask](concurrency)
        with anyio.CancelScope() as self._reader_scope, tasks:
            async with anyio.create_task_group() as readers:
                readers.start_soon(self._run_task, self._feed, tasks_in, pass_)
                for _ in range(concurrency):
                    readers.start_soon(self._run_task, self._read_persons, tasks, reads, pass_)
            if self._error is None:
                await self.reader.end_pass()

    async def _feed(self, tasks: MemoryObjectSendStream[PersonTask], pass_: Pass) -> None:
        with anyio.CancelScope() as self._producer_scope, tasks:
            if pass_.number > 1:
                await self.runtime.sleep(self._wait_before_pass_s())
            await self.producer.feed(tasks, pass_)

    # --- readers ---

    async def _read_persons(
        self,
        tasks: MemoryObjectReceiveStream[PersonTask],
        reads: MemoryObjectSendStream[PersonRead],
        pass_: Pass,
    ) -> None:
        async for task in tasks:
            reads_or_failures = [
                await self._read_or_failure(task, area, pass_) for area in task.areas
            ]
            areas = tuple(read for read in reads_or_failures if read is not None)
            if areas:
                await reads.send(PersonRead(person=task.person, areas=areas))
            else:  # nothing to write, so the writer would never remove the task
                del self.producer.pending[task.person.person_key]

    async def _read_or_failure(self, task: PersonTask, area: str, pass_: Pass) -> AreaRead | None:
        """The read of an area, or its failure. None if the failure of an earlier pass remains."""
        try:
            return await self._read_area(task, area, pass_)
        except NotRequestedError as error:
            return None if area in task.gaps else self._failure(area, error)
        except AreaError as error:
            failure = self._failure(area, error)
            log.warning(
                "area.unread",
                person=short_key(task.person.person_key) or "(plain)",
                area=area,
                kind=failure.kind.value,
                status=failure.status,
                reason=failure.reason,
                attempts=failure.attempts,
                run_pass=pass_.number,
            )
            return failure

    async def _read_area(self, task: PersonTask, area: str, pass_: Pass) -> CompleteArea:
        """Read an area. The proof of a second read covers both reads."""
        first = task.areas[area].first
        read = await self.reader.read(
            task.person,
            area,
            is_first_pass=pass_.number == 1,
            is_second_read=first is not None,
        )
        if first is None:
            return read
        return confirmed(area_named(area), first, read, Confirm(self.settings.confirm))

    def _failure(self, area: str, error: AreaError) -> AreaFailure:
        now, wait_s = self.runtime.now(), error.retry_after_s
        return AreaFailure(
            area=area,
            kind=error.kind,
            reason=error.message,
            attempts=error.attempts,
            failed_at=now,
            status=error.status,
            retry_at=instant_after(now, wait_s) if wait_s else None,
        )

    # --- the writer ---

    async def _write(self, reads: MemoryObjectReceiveStream[PersonRead], pass_: Pass) -> None:
        """Write finished persons in batches, one transaction at a time."""
        async for read in reads:
            batch = [read]
            # At the end of the stream, the partial batch is still written.
            with suppress(anyio.EndOfStream), anyio.move_on_after(_FLUSH_S):
                while len(batch) < BATCH_PERSONS:
                    batch.append(await reads.receive())
            await self._write_batch(batch, pass_)

    async def _write_batch(self, batch: Sequence[PersonRead], pass_: Pass) -> None:
        waiting = await self.store.write_reads(batch, pass_number=pass_.number)
        for read in batch:
            key = read.person.person_key
            task = self.producer.pending.pop(key)
            failed = {area.area for area in read.areas if isinstance(area, AreaFailure)}
            gaps = failed | (task.gaps - {area.area for area in read.areas})
            # An earlier pass has counted a person with gaps. This read replaces that count.
            self.progress.persons_with_gaps += bool(gaps) - bool(task.gaps)
            if gaps or key in waiting:
                self._last_unfinished_s = self.runtime.monotonic()
            else:
                self.progress.persons_complete += 1

    # --- the end ---

    async def _renew_lease(self) -> None:
        while True:
            await self.runtime.sleep(self.store.lease.ttl_s / 5)
            await self.store.renew()

    async def _watch_for_stop(self) -> None:
        """Stop the run on request or at its deadline. Reads in flight get a grace period."""
        deadline, is_sync = self.settings.deadline, self.store.handle.kind == RunKind.SYNC
        with anyio.move_on_after(None if deadline is None else deadline.total_seconds()) as limit:
            await self.stop.wait()
        reason = "stopped at sync.deadline" if limit.cancelled_caught else "stopped on request"
        reason += "; completed reads are kept" if is_sync else ""
        log.info("run.stopping", reason=reason)
        hint = _SYNC_HINT if is_sync else _BACKFILL_HINT
        self._error = self._error or StoppedError(reason, hint=hint)
        # Stop new tasks first, so that the readers can finish theirs.
        self._producer_scope.cancel()
        await self.runtime.sleep(_GRACE_S)
        self._reader_scope.cancel()
