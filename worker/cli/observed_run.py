"""Executes a run; sends metrics and pings to the configured targets, which never disturb it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.app import App
from worker.cli.run_sync import RunRequest, run_sync
from worker.core.model import RunKind
from worker.core.run import RunProgress, RunReport, Standing
from worker.errors import ExitCode, LeaseHeldError, WorkerError

if TYPE_CHECKING:
    from worker.telemetry.metrics import Board
    from worker.telemetry.targets import TelemetryOptions

log = structlog.get_logger(__name__)

_METRICS_PATIENCE_S: Final = 1.0
"""How long to wait for an unavailable database after the run, for metrics only."""


def telemetry_options(app: App) -> "TelemetryOptions":
    """The configured targets."""
    from worker.telemetry.targets import TelemetryOptions  # noqa: PLC0415 - only if configured

    chosen = app.settings.telemetry
    return TelemetryOptions(
        textfile=chosen.textfile,
        pushgateway_url=chosen.pushgateway_url,
        ping_url=chosen.ping_url.get_secret_value() if chosen.ping_url else None,
        ca_file=app.settings.tls.ca_file,
        proxy=app.proxy(),
    )


async def observed_run(
    app: App,
    request: RunRequest,
    *,
    stop: anyio.Event,
    changed: Callable[[RunProgress], None] | None = None,
    board: "Board | None" = None,
) -> RunReport:
    """Execute ``run_sync``, then send its metrics to every target. It raises the same errors.

    Only full runs are pinged: a backfill says nothing of the night.

    Args:
        board: what ``/metrics`` shows, if it is served.
    """
    chosen = app.settings.telemetry
    targets = (chosen.textfile, chosen.pushgateway_url, chosen.ping_url)
    if board is None and not any(targets):
        return await _logged_run(app, request, stop, changed)
    from worker.telemetry.metrics import samples_of, samples_of_end  # noqa: PLC0415 - as above
    from worker.telemetry.targets import emit, ping  # noqa: PLC0415

    options = telemetry_options(app)
    if request.kind is not RunKind.SYNC:
        options = replace(options, ping_url=None)
    await ping(options)
    try:
        report = await _logged_run(app, request, stop, changed)
    except LeaseHeldError:
        raise  # the other run sends its own metrics
    except Exception as error:
        code = error.exit_code if isinstance(error, WorkerError) else ExitCode.BUG
        samples = samples_of_end(code, at=app.runtime.now(), kind=request.kind)
        await emit(samples, options, board=board)
        await ping(options, code)
        raise
    await emit(samples_of(report, await _standing(app)), options, board=board)
    await ping(options, report.exit_code)
    return report


async def _logged_run(
    app: App,
    request: RunRequest,
    stop: anyio.Event,
    changed: Callable[[RunProgress], None] | None,
) -> RunReport:
    """Execute ``run_sync`` and log its end as one event: ``run.summary``, or ``run.failed``."""
    progress = RunProgress()

    def keep(current: RunProgress) -> None:
        nonlocal progress
        progress = current
        if changed is not None:
            changed(current)

    try:
        return _logged(await run_sync(app, request, stop=stop, changed=keep), progress)
    except LeaseHeldError:
        raise  # nothing was done; the other run logs its own end
    except Exception as error:
        known = error if isinstance(error, WorkerError) else WorkerError(type(error).__name__)
        log.error(  # noqa: TRY400 - the traceback of a bug is printed at the end
            "run.failed",
            kind=request.kind.value,
            code=int(known.exit_code),
            reason=known.message,
            hint=known.hint,
        )
        raise


def _logged(report: RunReport, progress: RunProgress) -> RunReport:
    """Log the report as one event, with the ledger's totals or else this process's progress."""
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
        reasons=list(report.reasons),
        failures=dict(report.failures),
        **figures,
    )
    return report


async def _standing(app: App) -> Standing | None:
    from worker.store.queries.status import read_standing  # noqa: PLC0415 - as above

    try:
        async with app.database(patience_s_max=_METRICS_PATIENCE_S) as database:
            return await read_standing(database.read)
    except WorkerError as error:
        log.warning("telemetry.no_standing", reason=error.message)
        return None
