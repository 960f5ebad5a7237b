"""One run: read everyone, then publish, withhold, or leave the run open to be continued."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import anyio
import structlog

from worker.core.display import counted
from worker.core.identity import Identity
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunProgress, RunReport
from worker.errors import ExitCode, LeaseLostError, WithheldError, WorkerError
from worker.ports import Roster, Runtime
from worker.pts.reader import PtsReader
from worker.pts.throttle import Throttle
from worker.store.runs.run_store import RunStore
from worker.sync.breaker import Area, Breaker
from worker.sync.pipeline import Pipeline, RunOptions
from worker.sync.producer import Producer
from worker.sync.reading import PersonReader

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run and its dependencies, wired by ``app``.

    Attributes:
        stop: set to stop the run (SIGTERM, SIGINT).
    """

    roster: Roster
    reader: PtsReader
    gate: Throttle
    store: RunStore
    identity: Identity
    options: RunOptions
    runtime: Runtime
    stop: anyio.Event
    progress: RunProgress = field(default_factory=RunProgress)
    _began_at: datetime | None = field(default=None, init=False)
    _slowed: tuple[str, ...] = field(default=(), init=False)

    async def execute(self) -> RunReport:
        """Run it and report how it ended; a ``WorkerError`` becomes the report's exit code.

        Raises:
            LeaseLostError: another process took the lease; nothing more may be written.
        """
        handle = self.store.handle
        self._began_at = self.runtime.now()
        log.info("run.began", run=handle.run_id, kind=handle.kind, continued=handle.is_continued)
        breaker = Breaker(
            reader=self.reader,
            gate=self.gate,
            runtime=self.runtime,
            progress=self.progress,
            areas={name: Area(name=name) for name in handle.areas},
            was_answered=handle.was_answered,
            patience_s=self.options.patience_s,
            wait_s_max=self.options.retry_after_s_max,
        )
        producer = Producer(
            roster=self.roster,
            store=self.store,
            identity=self.identity,
            progress=self.progress,
            sends_h_numbers=self.options.sends_h_numbers,
            passed_over=breaker.suggest,
        )
        ending = await self._pipeline(breaker, producer).work()
        self._report_progress(self.progress)
        self._slowed = breaker.slowed_by()
        try:
            if ending is not None:
                raise ending
            if handle.kind == RunKind.BACKFILL and not producer.has_tasks:
                return await self._abandon()
            return await self._publish(may_depart=producer.is_complete)
        except LeaseLostError:
            raise
        except WithheldError as error:
            return await self._withhold(error)
        except WorkerError as error:
            return await self._interrupt(error)

    def _pipeline(self, breaker: Breaker, producer: Producer) -> Pipeline:
        reader = PersonReader(
            breaker=breaker,
            progress=self.progress,
            runtime=self.runtime,
            confirm=self.options.confirm,
        )
        return Pipeline(
            producer=producer,
            reader=reader,
            store=self.store,
            options=self.options,
            runtime=self.runtime,
            progress=self.progress,
            stop=self.stop,
            changed=self._report_progress,
        )

    def _report_progress(self, progress: RunProgress) -> None:
        progress.requests = self.reader.stats.requests
        progress.retries = self.reader.stats.retries

    async def _publish(self, *, may_depart: bool) -> RunReport:
        is_sync = self.store.handle.kind == RunKind.SYNC
        done = await self.store.publish(
            self.options.limits, may_depart=is_sync and may_depart, progress=self.progress
        )
        log.info(
            "run.published", run=self.store.handle.run_id, code=int(done.exit_code), **done.totals
        )
        if done.new_fields:
            log.warning("drift.new", run=self.store.handle.run_id, fields=list(done.new_fields))
        return self._report(
            RunStatus.PUBLISHED,
            done.exit_code,
            published_at=done.published_at,
            totals=done.totals,
            new_fields=done.new_fields,
            reasons=(*self._failure_reasons(), *done.warnings, *filter(None, [done.drift])),
        )

    def _failure_reasons(self) -> tuple[str, ...]:
        reasons = []
        if self.progress.roster_faults:
            reasons.append(
                f"{counted(self.progress.roster_faults, 'line')} of the roster could not be read, "
                f"the first, {self.progress.first_roster_fault}; nobody was marked as departed, "
                "because the missing persons may stand there"
            )
        if self.progress.failures:
            kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.progress.failures.items()))
            reasons.append(f"person-areas that could not be read: {kinds}")
            reasons.append(f"the first, {self.progress.first_failure}; `failures list` has all")
        return tuple(reasons)

    async def _abandon(self) -> RunReport:
        """End a backfill that asked for nobody: readers keep the publication that they have."""
        unknown = await self.store.unknown_failures()
        reasons = ["nothing to read, so nothing was published", *self._failure_reasons()]
        if unknown:
            reasons += [
                f"{counted(unknown, 'open failure')} of persons whom no publication knows",
                "run `pts-worker sync`, which reads everyone",
            ]
        code = ExitCode.USAGE if len(reasons) > 1 else ExitCode.OK
        log.info(
            "run.nothing_to_read",
            run=self.store.handle.run_id,
            code=int(code),
            unknown_failures=unknown,
        )
        totals = await self.store.abandon(code, "; ".join(reasons), self.progress)
        return self._report(RunStatus.ABANDONED, code, totals=totals, reasons=tuple(reasons))

    async def _withhold(self, error: WithheldError) -> RunReport:
        log.error("run.withheld", reason=error.message, hint=error.hint)
        await self._recorded(self.store.withhold(error))
        return self._report(RunStatus.WITHHELD, ExitCode.WITHHELD, reasons=_words(error))

    async def _interrupt(self, error: WorkerError) -> RunReport:
        log.error("run.interrupted", reason=error.message, hint=error.hint)
        await self._recorded(self.store.interrupt(error.exit_code, error.message, self.progress))
        return self._report(RunStatus.INTERRUPTED, error.exit_code, reasons=_words(error))

    async def _recorded(self, ending: Awaitable[None]) -> None:
        """Record how the run ended; it has ended so, too, if that cannot be recorded."""
        try:
            await ending
        except LeaseLostError:
            raise
        except WorkerError as error:
            log.error("run.not_recorded", reason=error.message, hint=error.hint)  # noqa: TRY400

    def _report(
        self,
        status: RunStatus,
        exit_code: ExitCode,
        *,
        published_at: datetime | None = None,
        totals: Mapping[str, int] | None = None,
        reasons: tuple[str, ...] = (),
        new_fields: tuple[str, ...] = (),
    ) -> RunReport:
        handle = self.store.handle
        return RunReport(
            run_id=handle.run_id,
            kind=handle.kind,
            status=status,
            exit_code=exit_code,
            started_at=handle.started_at,
            finished_at=self.runtime.now(),
            attempt_started_at=self._began_at,
            published_at=published_at,
            is_continued=handle.is_continued,
            totals=totals or {},
            failures={kind.value: count for kind, count in self.progress.failures.items()},
            reasons=(*reasons, *self._slowed),
            new_fields=new_fields,
        )


def _words(error: WorkerError) -> tuple[str, ...]:
    return tuple(text for text in (error.message, error.hint) if text)
