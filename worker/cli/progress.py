"""Signals, the progress bar, and how a run's end is reported."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import anyio
from msgspec.structs import replace
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from worker.app import App
from worker.cli.base import Cli
from worker.cli.notify import Notifier
from worker.cli.run_watch import (
    STALLED_S,
    Pace,
    RunWatch,
    announce_stop,
    find_total,
    keep_logging,
    keep_notified,
)
from worker.cli.showing import instant, roster_of, span
from worker.cli.watchdog import Watchdog, on_signals
from worker.core.model import RunKind
from worker.core.plurals import counted
from worker.core.run import RunProgress, RunReport
from worker.errors import LeaseHeldError, StoppedError
from worker.logs import configure
from worker.ports import Runtime
from worker.streams import stop_waiting
from worker.use_cases.observed_run import observed_run
from worker.use_cases.run_sync import RunRequest

_REDRAW_S = 1.0
_PUBLICATION_S_MAX = 600.0
"""A run that was stopped at its deadline may still write what was read."""
_STOPPING = "stopping: who was read completely is written; once more stops at once"


async def stoppable(
    work: Callable[[anyio.Event], Awaitable[Any]],
    runtime: Runtime,
    *,
    deadline_s: float | None = None,
    beside: Sequence[Callable[[anyio.Event], Coroutine[Any, Any, None]]] = (),
) -> Any:
    """Run ``work``; SIGTERM, SIGINT or SIGHUP sets its event, a second one cancels it.

    What is being committed is finished even then. Where the event loop is stuck the process is
    ended all the same (``worker.cli.watchdog``). An error of ``work`` leaves as it is, not in the
    exception group that a task group would make of it: it decides the exit code.

    Args:
        deadline_s: seconds after which ``work`` has ended by itself, unless it is stuck.
        beside: run at the same time, and are cancelled at its end.
    """
    stop = anyio.Event()
    result: Any = None
    fault: Exception | None = None
    loop = asyncio.get_running_loop()

    with Watchdog(runtime.monotonic, deadline_s) as watchdog:
        async with anyio.create_task_group() as tasks:

            def ask() -> None:
                (tasks.cancel_scope.cancel if stop.is_set() else stop.set)()

            def asked() -> None:
                watchdog.asked()
                loop.call_soon_threadsafe(ask)

            restore = on_signals(asked)
            tasks.start_soon(watchdog.beat)
            for task in beside:
                tasks.start_soon(task, stop)
            try:
                result = await work(stop)
            except Exception as error:  # noqa: BLE001 - raised again below
                fault = error
            finally:
                restore()
            tasks.cancel_scope.cancel()
    if fault is not None:
        raise fault
    return result


class Shown(Protocol):
    """Shows progress."""

    def __call__(
        self, done: int, of: int | None, gaps: int | None, *, old: int = 0, slowness: str = ""
    ) -> None:
        """Show it.

        Args:
            done: how much is done.
            of: of how much, if that is known.
            gaps: how much of it with gaps, if any can be.
            old: how much of it an earlier process has done; it does not count for the rate.
            slowness: why it is slow, if it is.
        """


def _is_shown(cli: Cli) -> bool:
    return sys.stderr.isatty() and not cli.given.as_json


class _Bar(Progress):
    """A bar with a line of text below it.

    Attributes:
        note: that text.
    """

    note = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """What is drawn."""
        yield self.make_tasks_table(self.tasks)
        if self.note:
            yield Text(f"  {self.note}", overflow="ellipsis", no_wrap=True)


@contextmanager
def progress_bar(
    cli: Cli, app: App, doing: str = "reading", unit: str = "person"
) -> Iterator[Shown | None]:
    """A bar on standard error, if that is a terminal; ``None`` if nobody would see it.

    Warnings stand above it, and the rest of the log only if its level or format was chosen. The
    bar never goes back: a total that grows makes it wait.
    """
    if not _is_shown(cli):
        yield None
        return
    origins = app.loaded.origins
    if {origins["log.level"], origins["log.format"]} == {"default"}:
        configure("WARNING", app.settings.log.format)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[rate]:,.0f}/s{task.fields[left]}{task.fields[gaps]}"),
        TimeElapsedColumn(),
    )
    with _Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None, rate=0.0, left="", gaps="", count="")
        pace = Pace(bar.get_time())
        share = 0.0

        def show(
            done: int, of: int | None, gaps: int | None, *, old: int = 0, slowness: str = ""
        ) -> None:
            nonlocal share
            bar.note = slowness
            share = max(share, min(done / of, 1.0)) if of else share
            now_s = bar.get_time()
            pace.add(now_s, done - old)
            left_s = None if of is None else pace.left_s(now_s, of - done)
            bar.update(
                task,
                completed=share,
                count=counted(done, unit) if of is None else f"{done:,} of {of:,}",
                total=1.0 if of else None,
                rate=pace.per_s(now_s),
                left="" if left_s is None else f", {span(left_s)} left",
                gaps=f", {gaps:,} with gaps" if gaps else "",
            )

        yield show


def _draw_nothing(_run: RunProgress) -> None:
    """Without a bar."""


async def _repeat(redraw: Callable[[], None], runtime: Runtime) -> None:
    """Draw again each second: rate and reason change although nothing is read."""
    while True:
        await runtime.sleep(_REDRAW_S)
        redraw()


def watch_runs(app: App, *, wait_s: float = 0.0) -> RunWatch:
    """A watch that knows the waits of the configuration, and how long the lease is waited for."""
    sync = app.settings.sync
    waits_s = wait_s + (sync.retry_after_max + sync.patience).total_seconds()
    return RunWatch(app.runtime.monotonic, stalled_s_max=STALLED_S + waits_s)


def beside_runs(
    app: App, watch: RunWatch, *, is_logged: bool, idle: Callable[[], str]
) -> Sequence[Callable[[anyio.Event], Coroutine[Any, Any, None]]]:
    """What goes on beside runs: notifications to systemd, and the heartbeat if ``is_logged``."""
    notifier = Notifier()
    tasks = [
        lambda _: keep_notified(notifier, watch, app.runtime, idle),
        lambda stop: announce_stop(notifier, stop),
    ]
    return [*tasks, lambda _: keep_logging(watch, app.runtime)] if is_logged else tasks


def run_and_report(cli: Cli, app: App, request: RunRequest) -> int:
    """Execute a run, report how it ended and return its exit code."""
    cli.keeps_code = True
    # Before the lease: a forgotten prompt stops no night.
    request = replace(request, roster=roster_of(app))
    watch = watch_runs(app, wait_s=request.wait_s)
    run, deadline = RunProgress(), app.settings.sync.deadline
    draw: Callable[[RunProgress], None] = _draw_nothing

    def changed(progress: RunProgress) -> None:
        nonlocal run
        run = progress
        watch.changed(run)
        draw(run)

    async def work(stop: anyio.Event) -> RunReport:
        nonlocal draw
        with progress_bar(cli, app) as show:
            if show is not None:
                draw = lambda run: show(  # noqa: E731 - has the bar at hand
                    run.persons_done,
                    run.persons_total or watch.total,
                    run.persons_with_gaps,
                    old=run.persons_skipped,
                    slowness=_STOPPING if stop.is_set() else run.slowness(),
                )
            watch.begin()
            try:
                return await observed_run(app, request, stop=stop, changed=changed)
            except LeaseHeldError as error:
                error.hint += "; `--wait 30m` waits for it"
                raise

    async def total(_stop: anyio.Event) -> None:
        if request.kind == RunKind.SYNC:
            await find_total(app, watch)

    report: RunReport | None = cli.run(
        lambda: stoppable(
            work,
            app.runtime,
            deadline_s=None if deadline is None else deadline.total_seconds() + _PUBLICATION_S_MAX,
            beside=[
                total,
                lambda _: _repeat(lambda: draw(run), app.runtime),
                *beside_runs(app, watch, is_logged=not _is_shown(cli), idle=lambda: "starting"),
            ],
        )
    )
    if report is None:  # cancelled by a second signal
        raise StoppedError(
            "stopped at once; what was written is kept", hint="the next `pts-worker sync` continues"
        )
    print_report(cli, report)
    return int(report.exit_code)


def print_report(cli: Cli, report: RunReport) -> None:
    """The run's end, as a document or in words; lost if nobody reads it, as the run is over."""
    if not sys.stdout.isatty():
        stop_waiting()
    cli.emit(document(report), lambda: _print(report))


def document(report: RunReport) -> dict[str, Any]:
    """A run's end as JSON: ``{"run": {…}}``, stable within a major version."""
    return {
        "run": {
            "run_id": report.run_id,
            "kind": report.kind.value,
            "status": report.status.value,
            "exit_code": int(report.exit_code),
            "continued": report.is_continued,
            "started_at": report.started_at,
            "finished_at": report.finished_at,
            "published_at": report.published_at,
            "totals": dict(report.totals),
            "failures": dict(report.failures),
            "reasons": list(report.reasons),
        }
    }


def _print(report: RunReport) -> None:
    code = report.exit_code
    name = code.name.lower().replace("_", " ")
    print(
        f"run {report.run_id} ({report.kind}): {report.status}, "
        f"exit {int(code)} ({name}), {report.worked_s:,.1f} s"
        + (f" (continued; began {instant(report.started_at)})" if report.is_continued else "")
    )
    if report.totals:
        t = report.totals
        print(
            f"  persons   {t['persons_total']:>9,}  complete {t['persons_complete']:,}, "
            f"stale {t['persons_stale']:,}, departed {t['persons_departed']:,}, "
            f"unreadable lines {t['roster_faults']:,}"
        )
        if t["persons_not_sent"]:
            print(f"  not sent  {t['persons_not_sent']:>9,}  (H-numbers)")
        print(
            f"  rows read {t['rows_read']:>9,}  new {t['rows_opened']:,}, "
            f"changed {t['rows_changed']:,}, closed {t['rows_closed']:,}, "
            f"unchanged {t['rows_unchanged']:,}"
        )
        print(f"  requests  {t['requests']:>9,}  retries {t['retries']:,}")
    for reason in report.reasons:
        print(f"  ! {reason}")
