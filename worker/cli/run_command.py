"""A run of ``sync``, ``backfill`` or ``schedule``, with its bar, signals, metrics and report.

An error of the bar, systemd, metrics or pings does not affect the run.
"""

import asyncio
import itertools
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final, TypeVar

import anyio
import structlog
from msgspec.structs import asdict, replace
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column

from worker.app import App
from worker.cli.access import roster_of
from worker.cli.options import Cli
from worker.cli.output import instant, notify, span
from worker.cli.run_sync import RunRequest, run_sync
from worker.core.model import RunKind
from worker.core.run import PublishedState, RunProgress, RunReport
from worker.errors import ExitCode, LeaseHeldError, StoppedError, WorkerError
from worker.logs import configure
from worker.ports import Runtime
from worker.store.status import read_published_state
from worker.streams import stop_signals
from worker.telemetry import LIMIT_S, Gauges, emit, ping, samples_of, samples_of_end

T = TypeVar("T")

log = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 60
_PATIENCE_S: Final = 1.0
"""How long to wait for an unreachable database, if only metrics need it."""
_RATE_S: Final = 60.0
_TOLERANCE: Final = 1.01
"""More persons than expected, by this factor, show that the estimate was wrong."""
_IN_SUMMARY: Final = frozenset(
    {
        *("run.failed", "run.withheld", "run.interrupted"),
        *("area.unread", "breaker.given_up", "roster.line_unreadable"),
    }
)
"""Log events that are hidden on a terminal, because the summary contains them."""
_STOPPING: Final = "stopping: complete reads are saved. Press Ctrl-C again to stop at once"


class RunWatch:
    """The state of the current run.

    Attributes:
        bar: a context manager that draws the progress bar on standard error, if ``is_shown``.

    Args:
        get_time: a monotonic clock, in seconds.
    """

    def __init__(self, get_time: Callable[[], float], *, is_shown: bool = False) -> None:
        self._stop: anyio.Event | None = None
        self._progress: RunProgress | None = None
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            # The default column would not wrap a long text.
            TextColumn("{task.fields[text]}", markup=False, table_column=Column()),
            console=Console(stderr=True),
            transient=True,
            disable=not is_shown,
            get_time=get_time,
            speed_estimate_period=_RATE_S,
        )

    @contextmanager
    def run(self, stop: anyio.Event) -> Iterator[RunProgress]:
        """Watch one run, and yield its progress. Setting ``stop`` stops the run."""
        self._stop, self._progress = stop, RunProgress()
        task = self.bar.add_task("reading", total=None, text="")
        try:
            yield self._progress
        finally:
            self.bar.remove_task(task)
            self._progress = None

    def describe(self) -> str:
        """Update the bar, and return its text: figures, and why the run is slow or stopping.

        Empty if no run is active. The rate covers the last minute. The time left is missing while
        total or rate is unknown.
        """
        if (progress := self._progress) is None:
            return ""
        # Persons read by an earlier process cost no time now, so they count neither in the rate
        # nor in the bar.
        task, skipped = self.bar.tasks[0], progress.persons_skipped
        total = progress.persons_expected
        if progress.persons_done > total * _TOLERANCE:
            total = 0  # the estimate was wrong, for example because the roster grew
        task.total = total - skipped if total else None
        self.bar.update(task.id, completed=progress.persons_done - skipped)
        text = f"{progress.persons_done:,}" + (f" of about {total:,}" if total else "")
        text += f" persons, {'' if total else 'total unknown, '}{task.speed or 0.0:,.1f}/s"
        if total and (left_s := task.time_remaining) is not None:
            text += f", {span(left_s)} left"
        if progress.persons_with_gaps:
            text += f", {progress.persons_with_gaps:,} with gaps"
        is_stopping = self._stop is not None and self._stop.is_set()
        note = _STOPPING if is_stopping else progress.slowness()
        if note:
            text += f" ({note})"
        self.bar.update(task.id, text=text)
        return text

    async def report(self, runtime: Runtime) -> None:
        """Update the bar and systemd every second, and the log every minute, until cancelled."""
        # The watchdog is fed from the event loop, so that systemd notices a loop that hangs.
        for second in itertools.count(1):
            text = self.describe()
            notify("READY=1", "WATCHDOG=1", f"STATUS={text or 'waiting'}")
            if text and second % HEARTBEAT_S == 0:
                log.info("run.heartbeat", progress=text)
            await runtime.sleep(1.0)


def run_and_report(cli: Cli, app: App, request: RunRequest) -> int:
    """Execute a run, report how it ended and return its exit code."""
    cli.keeps_code = True
    # Before the lease, because a prompt left unanswered must not block the nightly run.
    request = replace(request, roster=roster_of(app))
    is_shown = sys.stderr.isatty() and not cli.as_json
    if is_shown and {app.loaded.origins[key] for key in ("log.level", "log.format")} == {"default"}:
        configure("WARNING", hidden=_IN_SUMMARY)
    watch = RunWatch(app.runtime.monotonic, is_shown=is_shown)

    async def work(stop: anyio.Event) -> RunReport:
        return await observed_run(app, request, stop=stop, watch=watch)

    with watch.bar:
        report = cli.run(lambda: stoppable(work, lambda: watch.report(app.runtime)))
    if report is None:  # cancelled by a second signal
        raise StoppedError(
            "stopped at once; written persons are kept", hint="the next `pts-worker sync` continues"
        )
    notify(f"STATUS={next(iter(report.reasons), '')}")
    cli.emit({"run": report}, lambda: _print(report))
    return int(report.exit_code)


async def observed_run(
    app: App,
    request: RunRequest,
    *,
    stop: anyio.Event,
    watch: RunWatch | None = None,
    gauges: Gauges | None = None,
) -> RunReport:
    """Execute ``run_sync``, log its end, and send its metrics. It raises the same errors.

    Args:
        watch: shows the run.
        gauges: the metrics that ``/metrics`` serves, if it is on.
    """
    # A backfill does not replace the nightly run, so it must not report one as done.
    is_pinged = request.kind is RunKind.SYNC
    watch = watch or RunWatch(app.runtime.monotonic)
    targets, transport = app.settings.telemetry, partial(app.transport, limit_s=LIMIT_S)
    if is_pinged:
        await ping(targets, transport)
    try:
        with watch.run(stop) as progress:
            report = await run_sync(app, request, stop=stop, progress=progress)
    except LeaseHeldError:
        raise  # the active run logs its own end and sends its own metrics
    except Exception as error:
        code = _log_failure(error, request)
        samples = samples_of_end(code, at=app.runtime.now(), kind=request.kind)
        await emit(samples, targets, transport, gauges)
        if is_pinged:
            await ping(targets, transport, code)
        raise
    _log_summary(report, progress)
    if gauges is not None or targets.textfile or targets.pushgateway_url:
        state = await _published_state(app)
        failed = await emit(samples_of(report, state), targets, transport, gauges)
        report = replace(report, reasons=(*report.reasons, *failed))
    if is_pinged:
        await ping(targets, transport, report.exit_code)
    return report


def _log_failure(error: Exception, request: RunRequest) -> ExitCode:
    """Log ``run.failed``, and return the exit code."""
    # The message of a bug may contain personal values, so only its type is logged.
    cause = error if isinstance(error, WorkerError) else WorkerError(type(error).__name__)
    log.error(
        "run.failed",
        kind=request.kind.value,
        code=int(cause.exit_code),
        reason=cause.message,
        hint=cause.hint,
    )
    return cause.exit_code


def _log_summary(report: RunReport, progress: RunProgress) -> None:
    """Log ``run.summary``, with the ledger's totals."""
    # A run that did not publish has no totals, so its summary has this process's counters.
    counters = {**asdict(progress), **asdict(progress.sent)}
    counted = {name: count for name, count in counters.items() if isinstance(count, int)}
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
        **(report.totals or counted),
    )


async def _published_state(app: App) -> PublishedState | None:
    try:
        async with app.database(patience_s_max=_PATIENCE_S) as database:
            return await read_published_state(database.read)
    except WorkerError as error:
        log.warning("telemetry.no_published_state", reason=error.message)
        return None


def _print(report: RunReport) -> None:
    """Print the figures of a run and its reasons. A ``!`` marks reasons that need attention."""
    name = report.exit_code.name.lower().replace("_", " ")
    began = f" (continued; began {instant(report.started_at)})" if report.is_continued else ""
    print(
        f"run {report.run_id} ({report.kind}): {report.status}, "
        f"exit {int(report.exit_code)} ({name}), {report.worked_s:,.1f} s{began}"
    )
    if report.totals:
        _print_totals(report.totals)
    mark = "!" if report.exit_code or report.warnings else "-"
    for reason in report.reasons:
        print(f"  {mark} {reason}")


def _print_totals(totals: Mapping[str, int]) -> None:
    lines = (
        "  persons       {persons_total:>9,}  complete {persons_complete:,}, "
        "stale {persons_stale:,}, missing {persons_missing:,}, departed {persons_departed:,}\n"
        "  restrictions  {rows_read:>9,}  new {rows_opened:,}, changed {rows_changed:,}, "
        "closed {rows_closed:,}, unchanged {rows_unchanged:,}\n"
        "  requests      {requests:>9,}  retries {retries:,}, failures {areas_failed:,}"
    )
    print(lines.format_map(totals))
    if totals["persons_not_sent"]:
        print(f"  not sent      {totals['persons_not_sent']:>9,}  (H-numbers)")


async def stoppable(
    work: Callable[[anyio.Event], Awaitable[T]],
    background: Callable[[], Coroutine[Any, Any, None]],
) -> T | None:
    """Run ``work``. SIGTERM, SIGINT or SIGHUP sets its event, and a second signal cancels it.

    A commit in progress is finished even if ``work`` is cancelled.

    Args:
        background: runs at the same time, and is cancelled when ``work`` ends.

    Returns:
        The result of ``work``. None if it was cancelled.
    """
    stop, loop = anyio.Event(), asyncio.get_running_loop()
    background_task = loop.create_task(background())
    try:
        with anyio.CancelScope() as scope:

            def stop_or_cancel() -> None:
                if stop.is_set():
                    scope.cancel()
                else:
                    stop.set()

            with _on_signals(lambda: loop.call_soon_threadsafe(stop_or_cancel)):
                return await work(stop)
    finally:
        background_task.cancel()
    return None


@contextmanager
def _on_signals(callback: Callable[[], object]) -> Iterator[None]:
    """Call ``callback`` on each stop signal."""

    def handle(number: int, _frame: FrameType | None) -> None:
        # The kernel and the shell both send SIGHUP when a terminal is closed. That is one stop.
        if number == signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)
        callback()

    previous = {number: signal.signal(number, handle) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
