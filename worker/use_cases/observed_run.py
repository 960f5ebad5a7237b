"""Executes a run and sends its metrics to the configured targets, which never disturb the run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.app import App
from worker.core.run import RunProgress, RunReport
from worker.errors import LeaseHeldError, WorkerError
from worker.use_cases.run_sync import RunRequest, run_sync

if TYPE_CHECKING:
    from worker.telemetry.numbers import Standing
    from worker.telemetry.options import TelemetryOptions
    from worker.telemetry.prometheus import Board

log = structlog.get_logger(__name__)

_METRICS_PATIENCE_S: Final = 1.0
"""How long to wait for an unavailable database after the run, for metrics only."""


def telemetry_options(app: App) -> "TelemetryOptions":
    """The configured targets.

    Raises:
        ConfigurationError: a target needs a package that is not installed.
    """
    from worker.telemetry.emit import check_telemetry  # noqa: PLC0415 - only if it is configured
    from worker.telemetry.options import TelemetryOptions  # noqa: PLC0415

    chosen, ca_file = app.settings.telemetry, app.settings.tls.ca_file
    options = TelemetryOptions(
        textfile=app.path(chosen.textfile) if chosen.textfile else None,
        textfile_mode=int(chosen.textfile_mode, 8),
        pushgateway_url=chosen.pushgateway_url,
        http_listen=chosen.http_listen,
        otlp_endpoint=chosen.otlp_endpoint,
        ca_file=app.path(ca_file) if ca_file else None,
        proxy=app.proxy(),
    )
    check_telemetry(options)
    return options


async def observed_run(
    app: App,
    request: RunRequest,
    *,
    stop: anyio.Event,
    changed: Callable[[RunProgress], None] | None = None,
    board: "Board | None" = None,
) -> RunReport:
    """Execute ``run_sync``, then send its metrics to every target. It raises the same errors.

    Args:
        app: the configured program.
        request: what to read.
        stop: set it to stop the run.
        changed: called when the progress has changed.
        board: what ``/metrics`` shows, if it is served.
    """
    progress = RunProgress()

    def keep(current: RunProgress) -> None:
        nonlocal progress
        progress = current
        if changed is not None:
            changed(current)

    chosen = app.settings.telemetry
    if not (board or chosen.textfile or chosen.pushgateway_url or chosen.otlp_endpoint):
        return _logged(await run_sync(app, request, stop=stop, changed=keep), progress)
    from worker.telemetry.emit import emit, emit_samples  # noqa: PLC0415 - as above
    from worker.telemetry.numbers import samples_of_failure  # noqa: PLC0415

    options = telemetry_options(app)
    try:
        report = _logged(await run_sync(app, request, stop=stop, changed=keep), progress)
    except LeaseHeldError:
        raise  # the other run sends its own metrics
    except WorkerError as error:
        samples = samples_of_failure(error.exit_code, at=app.runtime.now(), kind=request.kind)
        await emit_samples(samples, options, board=board)
        raise
    await emit(report, options, standing=await _standing(app), board=board)
    return report


def _logged(report: RunReport, progress: RunProgress) -> RunReport:
    """Log the report as one event, with the totals of a published run or this process's progress.

    Only a published run has totals.
    """
    figures = report.totals or {
        name: getattr(progress, name)
        for name in (
            "persons_done",
            "persons_skipped",
            "persons_complete",
            "persons_with_gaps",
            "persons_not_sent",
            "roster_faults",
            "areas_complete",
            "rows_written",
            "requests",
            "retries",
        )
    }
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
        shard=report.shard and str(report.shard),
        reasons=list(report.reasons),
        failures=dict(report.failures),
        **figures,
    )
    return report


async def _standing(app: App) -> "Standing | None":
    from worker.report.standing import read_standing  # noqa: PLC0415 - as above

    try:
        async with app.database(patience_s_max=_METRICS_PATIENCE_S) as database:
            return await read_standing(database.read)
    except WorkerError as error:
        log.warning("telemetry.no_standing", reason=error.message)
        return None
