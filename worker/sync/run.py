"""One run: read everyone, then publish, withhold, or leave the run open to be continued."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import anyio
import structlog

from worker.config.settings import Sync
from worker.core.display import counted, listed
from worker.core.guard import GuardLimits
from worker.core.identity import Identity
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunProgress, RunReport
from worker.errors import ExitCode, LeaseLostError, WithheldError, WorkerError
from worker.ports import Roster, Runtime
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader
from worker.store.runs.run_store import RunStore
from worker.sync.breaker import Area, Breaker
from worker.sync.pipeline import Pipeline
from worker.sync.producer import Producer

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run and its dependencies, wired by ``run_sync``.

    Attributes:
        accept_removals: a person accepts what the last withheld run counted, and a tenth more.
        stop: set to stop the run (SIGTERM, SIGINT).
    """

    roster: Roster
    reader: PtsReader
    pace: Pace
    store: RunStore
    identity: Identity
    settings: Sync
    accept_removals: bool
    sends_h_numbers: bool
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
        ending = await self._pipeline().work()
        self._report_progress()
        self._slowed = self.pace.slowed_by()
        try:
            if ending is not None:
                raise ending
            is_sync = handle.kind == RunKind.SYNC
            if not (is_sync or self.progress.areas_complete or self.progress.failures):
                return await self._abandon()
            return await self._publish(may_depart=is_sync and not self.progress.roster_faults)
        except LeaseLostError:
            raise
        except WorkerError as error:
            return await self._end(error)

    def _pipeline(self) -> Pipeline:
        handle = self.store.handle
        breaker = Breaker(
            reader=self.reader,
            pace=self.pace,
            runtime=self.runtime,
            progress=self.progress,
            areas={name: Area(name=name) for name in handle.areas},
            was_answered=handle.was_answered,
            settings=self.settings,
        )
        producer = Producer(
            roster=self.roster,
            store=self.store,
            identity=self.identity,
            progress=self.progress,
            sends_h_numbers=self.sends_h_numbers,
            passed_over=lambda person, name: breaker.areas[name].witnesses.append(person),
        )
        return Pipeline(
            producer=producer,
            breaker=breaker,
            store=self.store,
            settings=self.settings,
            runtime=self.runtime,
            progress=self.progress,
            stop=self.stop,
            changed=self._report_progress,
        )

    def _report_progress(self) -> None:
        self.progress.requests = self.reader.stats.requests
        self.progress.retries = self.reader.stats.retries

    async def _publish(self, *, may_depart: bool) -> RunReport:
        limits = GuardLimits(
            max_removed_share=self.settings.max_removed_share,
            min_completeness=self.settings.min_completeness,
            first_min_completeness=self.settings.first_min_completeness,
            accept_removals=self.accept_removals,
        )
        done = await self.store.publish(limits, may_depart=may_depart, progress=self.progress)
        return self._report(
            RunStatus.PUBLISHED,
            done.exit_code,
            (
                *self._failure_reasons(),
                *self._roster_warnings(),
                *done.warnings,
                *filter(None, [done.drift]),
            ),
            published_at=done.published_at,
            totals=done.totals,
            new_fields=done.new_fields,
            warnings=len(done.warnings),
        )

    def _failure_reasons(self) -> Iterator[str]:
        if self.progress.roster_faults:
            yield (
                f"{counted(self.progress.roster_faults, 'line')} of the roster could not be read, "
                f"the first, {self.progress.first_roster_fault}; nobody was marked as departed, "
                "because the missing persons may be among them"
            )
        if self.progress.failures:
            kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.progress.failures.items()))
            yield f"person-areas that could not be read: {kinds}"
            yield f"the first, {self.progress.first_failure}; `failures list` has all"

    def _roster_warnings(self) -> Iterator[str]:
        if names := self.roster.unknown_columns:
            yield (
                f"columns of the roster that are not read: {listed(names)}; off_id, local_ref and "
                "cohort are"
            )
        if wrong := self.progress.checksum_warnings:
            yield (
                f"{counted(wrong, 'identifier')} of the roster with wrong control digits: PTS was "
                "asked all the same; if one is mistyped, the person who was meant departs"
            )
        if replaced := self.progress.labels_replaced:
            yield (
                f"{counted(replaced, 'person')} with an identifier in local_ref or cohort, which "
                "readers can see: it was masked; give a reference that is no identifier, and the "
                "name of a clinic or department"
            )

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
        totals = await self.store.abandon(code, "; ".join(reasons), self.progress)
        return self._report(RunStatus.ABANDONED, code, tuple(reasons), totals=totals)

    async def _end(self, error: WorkerError) -> RunReport:
        """Record how the run ended; it has ended so, too, if that cannot be recorded."""
        status, reason, hint = RunStatus.INTERRUPTED, error.message, error.hint
        try:
            if isinstance(error, WithheldError):
                status = RunStatus.WITHHELD
                log.error("run.withheld", reason=reason, hint=hint)
                await self.store.withhold(error, self.progress)
            else:
                log.error("run.interrupted", reason=reason, hint=hint)
                await self.store.interrupt(error.exit_code, reason, self.progress)
        except LeaseLostError:
            raise
        except WorkerError as fault:
            log.error("run.not_recorded", reason=fault.message, hint=fault.hint)  # noqa: TRY400
        details = self._failure_reasons() if status == RunStatus.WITHHELD else ()
        return self._report(status, error.exit_code, tuple(filter(None, (reason, *details, hint))))

    def _report(
        self, status: RunStatus, exit_code: ExitCode, reasons: tuple[str, ...], **more: Any
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
            is_continued=handle.is_continued,
            failures={kind.value: count for kind, count in self.progress.failures.items()},
            reasons=(*reasons, *self._slowed),
            **more,
        )
