"""One run: read all persons, then publish, withhold, or leave the run open to be continued."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from worker.config.settings import Sync
from worker.core.display import counted
from worker.core.guard import GuardLimits
from worker.core.model import RunKind, RunStatus
from worker.core.reasons import failure_reasons, kinds_of, roster_warnings
from worker.core.run import FailureCount, RunProgress, RunReport
from worker.errors import ExitCode, LeaseLostError, WithheldError, WorkerError
from worker.ports import Runtime
from worker.store.runs.run_store import RunStore
from worker.sync.pipeline import Pipeline

_SERVICE_CODES: Final = frozenset({ExitCode.DATA_CONTRACT, ExitCode.UNAVAILABLE, ExitCode.REFUSED})
"""Exit codes for which PTS or HelseID is the cause."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run and its dependencies, wired by ``run_sync``.

    Attributes:
        accept_removals: the operator accepts the counts of the last withheld run, plus a tenth.
    """

    pipeline: Pipeline
    store: RunStore
    settings: Sync
    accept_removals: bool
    runtime: Runtime
    progress: RunProgress
    _attempt_started_at: datetime | None = field(default=None, init=False)
    _slowed: tuple[str, ...] = field(default=(), init=False)
    _given_up: tuple[str, ...] = field(default=(), init=False)
    _failures: Sequence[FailureCount] = field(default=(), init=False)

    async def execute(self) -> RunReport:
        """Execute the run. A ``WorkerError`` ends it and becomes the report's exit code.

        Raises:
            LeaseLostError: another process took the lease, so nothing more may be written.
        """
        handle = self.store.handle
        self._attempt_started_at = self.runtime.now()
        log.info("run.started", run=handle.run_id, kind=handle.kind, continued=handle.is_continued)
        try:
            await self._read()
            # A sync without reads is published as well: it may mark persons as departed.
            if handle.kind == RunKind.BACKFILL and not self.progress.persons_requested:
                return await self._abandon()
            return await self._publish()
        # Without the lease, not even the end of the run may be recorded.
        except LeaseLostError:
            raise
        except WorkerError as error:
            return await self._end_early(error)

    async def _read(self) -> None:
        reader = self.pipeline.reader
        self.progress.slowness, self.progress.sent = reader.slowness, reader.pts_reader.counts
        try:
            await self.pipeline.work()
        finally:
            # Also after an error, because the report of an interrupted run shows it.
            self._slowed = reader.slowed_by()
        self._given_up = tuple(area for area in reader.breakers if area not in reader.areas)
        self._failures = await self.store.failures()

    # --- how it ends ---

    async def _publish(self) -> RunReport:
        limits = GuardLimits(
            max_removed_share=self.settings.max_removed_share,
            min_completeness=self.settings.min_completeness,
            first_min_completeness=self.settings.first_min_completeness,
            accept_removals=self.accept_removals,
        )
        is_sync = self.store.handle.kind == RunKind.SYNC
        new_persons = 0 if is_sync else await self.store.new_persons()
        publication = await self.store.publish(
            limits,
            is_full_roster=is_sync and not self.progress.roster_faults,
            progress=self.progress,
        )
        return self._report(
            RunStatus.PUBLISHED,
            publication.exit_code,
            *self._failure_reasons(is_published_sync=is_sync),
            *roster_warnings(
                self.progress,
                self.pipeline.producer.roster.unknown_columns,
                is_published_sync=is_sync,
            ),
            _not_on_roster(new_persons),
            *publication.warnings,
            publication.drift,
            published_at=publication.published_at,
            totals=publication.totals,
            new_fields=publication.new_fields,
            warnings=len(publication.warnings),
        )

    async def _abandon(self) -> RunReport:
        """End a backfill that read no person. The current publication remains."""
        unknown = await self.store.unknown_failures()
        reasons = ["nothing to read, so nothing was published", *self._failure_reasons()]
        if unknown:
            reasons += [
                f"{counted(unknown, 'open failure')} of persons that were never published",
                "run `pts-worker sync`, which reads all persons",
            ]
        code = ExitCode.USAGE if len(reasons) > 1 else ExitCode.OK
        totals = await self.store.abandon(code, "; ".join(reasons), self.progress)
        return self._report(RunStatus.ABANDONED, code, *reasons, totals=totals)

    async def _end_early(self, error: WorkerError) -> RunReport:
        """Record the end of the run, and report it even if it cannot be recorded."""
        await self._record_end(error)
        is_withheld = isinstance(error, WithheldError)
        status = RunStatus.WITHHELD if is_withheld else RunStatus.INTERRUPTED
        details = [*self._failure_reasons()] if is_withheld else []
        requested = self.progress.persons_requested
        is_service_error = error.exit_code in _SERVICE_CODES and requested
        # Few persons are weak evidence about PTS, so the report shows their number.
        if is_service_error and self.store.handle.kind == RunKind.BACKFILL:
            details = [f"this backfill requested only {counted(requested, 'person')}"]
        return self._report(status, error.exit_code, error.message, *details, error.hint)

    async def _record_end(self, error: WorkerError) -> None:
        try:
            if isinstance(error, WithheldError):
                log.error("run.withheld", reason=error.message, hint=error.hint)
                await self.store.withhold(error, self.progress)
            else:
                log.error("run.interrupted", reason=error.message, hint=error.hint)
                await self.store.interrupt(error.exit_code, error.message, self.progress)
        except LeaseLostError:
            raise
        except WorkerError as record_error:
            # The next run finds this one as running, and resumes or abandons it.
            log.error(  # noqa: TRY400
                "run.not_recorded", reason=record_error.message, hint=record_error.hint
            )

    def _failure_reasons(self, *, is_published_sync: bool = False) -> Iterator[str]:
        return failure_reasons(
            self.progress, self._failures, self._given_up, is_published_sync=is_published_sync
        )

    def _report(
        self, status: RunStatus, exit_code: ExitCode, *reasons: str, **more: Any
    ) -> RunReport:
        handle = self.store.handle
        return RunReport(
            run_id=handle.run_id,
            kind=handle.kind,
            status=status,
            exit_code=exit_code,
            started_at=handle.started_at,
            finished_at=self.runtime.now(),
            attempt_started_at=self._attempt_started_at,
            is_continued=handle.is_continued,
            failures={kind.value: count for kind, count in kinds_of(self._failures).items()},
            reasons=(*filter(None, reasons), *self._slowed),
            **more,
        )


def _not_on_roster(new_persons: int) -> str:
    """The warning about persons that a backfill has added. Empty if there are none."""
    if not new_persons:
        return ""
    return (
        f"{counted(new_persons, 'new person')}, not yet on the roster of a full run. Add them to "
        "the roster, or they depart after two full runs"
    )
