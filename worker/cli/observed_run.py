"""Executes a run; its end goes to the log, and to the configured targets of metrics and pings.

These never disturb it.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import structlog

from worker.app import App
from worker.cli.run_sync import RunRequest, run_sync
from worker.core.model import RunKind
from worker.core.run import RunProgress, RunReport, Standing
from worker.errors import ExitCode, LeaseHeldError, WorkerError
from worker.store.status import read_standing
from worker.telemetry import LIMIT_S, Board, emit, ping, samples_of, samples_of_end

log = structlog.get_logger(__name__)

_METRICS_PATIENCE_S: Final = 1.0
"""How long to wait for an unavailable database after the run, for metrics only."""
_OF_THIS_PROCESS: Final = (
    "persons_done",
    "persons_skipped",
    "persons_complete",
    "persons_with_gaps",
    "persons_not_sent",
    "roster_faults",
    "areas_complete",
    "requests",
    "retries",
)
"""What is logged of a run that has no totals, as nothing of it is published."""


async def observed_run(
    app: App,
    request: RunRequest,
    *,
    stop: anyio.Event,
    changed: Callable[[RunProgress], None] = lambda _: None,
    board: Board | None = None,
) -> RunReport:
    """Execute ``run_sync``, log its end, and send its metrics. It raises the same errors.

    Only full runs are pinged: a backfill says nothing of the night.

    Args:
        board: what ``/metrics`` shows, if it is served.
    """
    targets, progress = app.settings.telemetry, RunProgress()
    is_pinged, out = request.kind is RunKind.SYNC, partial(app.transport, limit_s=LIMIT_S)

    def keep(current: RunProgress) -> None:
        nonlocal progress
        progress = current
        changed(current)

    if is_pinged:
        await ping(targets, out)
    try:
        report = await run_sync(app, request, stop=stop, changed=keep)
    except LeaseHeldError:
        raise  # nothing was done; the other run logs its own end, and sends its own metrics
    except Exception as error:
        code = _log_failure(error, request)
        samples = samples_of_end(code, at=app.runtime.now(), kind=request.kind)
        await emit(samples, targets, out, board)
        if is_pinged:
            await ping(targets, out, code)
        raise
    _log_summary(report, progress)
    if board is not None or targets.textfile or targets.pushgateway_url:
        await emit(samples_of(report, await _standing(app)), targets, out, board)
    if is_pinged:
        await ping(targets, out, report.exit_code)
    return report


def _log_failure(error: Exception, request: RunRequest) -> ExitCode:
    """Log ``run.failed``; of a bug only its kind, as its traceback is printed at the end."""
    known = error if isinstance(error, WorkerError) else WorkerError(type(error).__name__)
    log.error(
        "run.failed",
        kind=request.kind.value,
        code=int(known.exit_code),
        reason=known.message,
        hint=known.hint,
    )
    return known.exit_code


def _log_summary(report: RunReport, progress: RunProgress) -> None:
    """Log ``run.summary``, with the ledger's totals or else this process's progress."""
    figures = report.totals or {name: getattr(progress, name) for name in _OF_THIS_PROCESS}
    log.info(
        "run.summary",
        run=report.run_id,
        kind=report.kind.value,
        status=report.status.value,
        code=int(report.exit_code),
        continued=report.is_continued,
        started_at=report.started_at.isoformat(),
        duration_s=round(report.worked_s, 3),
        published_at=report.published_at and report.published_at.isoformat(),
        reasons=list(report.reasons),
        failures=dict(report.failures),
        **figures,
    )


async def _standing(app: App) -> Standing | None:
    try:
        async with app.database(patience_s_max=_METRICS_PATIENCE_S) as database:
            return await read_standing(database.read)
    except WorkerError as error:
        log.warning("telemetry.no_standing", reason=error.message)
        return None
