"""Watches the runs of this process: bar, heartbeat in the log, status and watchdog of systemd."""

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import anyio
import structlog
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn
from rich.text import Text

from worker.app import App
from worker.cli.notify import Notifier
from worker.cli.options import Cli
from worker.cli.output import span
from worker.cli.rosters import count_roster
from worker.core.run import RunProgress
from worker.errors import WorkerError
from worker.logs import configure
from worker.ports import Runtime
from worker.store.status import last_full_publication

log = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 60.0
STALLED_S: Final = 3600.0
"""A run without progress for this long, besides its configured waits, is stuck."""
_STATUS_S: Final = 10.0
_READY_S: Final = 1.0
"""How long the first notification may block the event loop."""
_TOTAL_S: Final = 1.0
"""How long a database that is away is waited for, for the total alone."""
_RATE_S: Final = 60.0
_REDRAW_S: Final = 0.1
_DESCRIBED_S: Final = 1.0
_STOPPING: Final = "stopping: who was read completely is written; once more stops at once"


class Bar(Progress):
    """A bar on standard error, with words beside it. Enter it to have it drawn; it goes at the end.

    Nothing is drawn if nobody would see it.

    Attributes:
        words: beside the bar.
        note: a line below it; empty for none.
    """

    words = note = ""

    def __init__(self, *, is_shown: bool, get_time: Callable[[], float]) -> None:
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[words]}"),
            console=Console(stderr=True),
            transient=True,
            disable=not is_shown,
            get_time=get_time,
            speed_estimate_period=_RATE_S,
        )

    def begin(self, doing: str) -> Task:
        """What is done, in place of what was done before."""
        for former in self.tasks:
            self.remove_task(former.id)
        self.add_task(doing, total=None, words="")
        return self.tasks[0]

    def get_renderables(self) -> Iterator[RenderableType]:
        """What is drawn, by a thread of Rich's."""
        for task in self.tasks:
            self.update(task.id, words=self.words)
        yield self.make_tasks_table(self.tasks)
        if self.note:
            yield Text(f"  {self.note}", overflow="ellipsis", no_wrap=True)


class RunWatch(Bar):
    """What is known of the run that is on.

    Attributes:
        total: persons, as far as they are known.

    Args:
        get_time: a monotonic clock.
        stalled_s_max: seconds without progress after which the run is stuck.
    """

    def __init__(
        self,
        get_time: Callable[[], float],
        *,
        stalled_s_max: float = STALLED_S,
        is_shown: bool = False,
    ) -> None:
        self._stalled_s_max = stalled_s_max
        self._task: Task | None = None
        self._stop: anyio.Event | None = None
        self._progress, self._skipped = RunProgress(), 0
        self._described_at_s = 0.0
        self.total: int | None = None
        super().__init__(is_shown=is_shown, get_time=get_time)

    def begin_run(self, stop: anyio.Event | None = None) -> None:
        """A run begins, which this event stops."""
        self.end()
        self._task, self._stop = self.begin("reading"), stop
        self.changed(self._progress)

    def end(self) -> None:
        """It has ended."""
        self._task = self._stop = None
        self._progress, self._skipped = RunProgress(), 0
        self.words = self.note = ""

    def changed(self, progress: RunProgress) -> None:
        """It has made progress."""
        self._progress = progress
        self._progressed_at_s = self.get_time()
        if self._progressed_at_s - self._described_at_s > _REDRAW_S:
            self.describe()

    @property
    def is_stuck(self) -> bool:
        """Whether the run made no progress for too long."""
        if self._task is None:
            return False
        return self.get_time() - self._progressed_at_s > self._stalled_s_max

    def figures(self) -> dict[str, Any] | None:
        """Progress of the run as it is logged; None if no run is on.

        The rate is that of the last minute and counts no persons whom an earlier process has read.
        ``eta_s`` is None as long as total or rate are unknown. ``slowness`` says why requests wait
        or are slower than configured, and is empty if neither.
        """
        task, progress = self._task, self._progress
        if task is None:
            return None
        task.completed += progress.persons_skipped - self._skipped  # without an effect on the rate
        self._skipped = progress.persons_skipped
        self.update(task.id, completed=progress.persons_done, total=self.total)
        left_s = task.time_remaining
        return {
            "persons_done": progress.persons_done,
            "persons_total": self.total,
            "persons_with_gaps": progress.persons_with_gaps,
            "rate_per_s": round(task.speed or 0.0, 1),
            "eta_s": None if left_s is None else round(left_s),
            "slowness": progress.slowness(),
        }

    def describe(self) -> None:
        """Say in words what the figures are, and why the run is slow or that it stops."""
        figures, self._described_at_s = self.figures(), self.get_time()
        if figures is None:
            self.words = self.note = ""
            return
        total, eta_s, gaps = (
            figures["persons_total"],
            figures["eta_s"],
            figures["persons_with_gaps"],
        )
        words = f"{figures['persons_done']:,}" + (f" of {total:,}" if total is not None else "")
        words += f" persons, {figures['rate_per_s']:,}/s"
        words += f", {span(eta_s)} left" if eta_s is not None else ""
        self.words = words + (f", {gaps:,} with gaps" if gaps else "")
        is_stopping = self._stop is not None and self._stop.is_set()
        self.note = _STOPPING if is_stopping else figures["slowness"]


def is_seen(cli: Cli) -> bool:
    """Whether somebody sees what is drawn on standard error."""
    return sys.stderr.isatty() and not cli.as_json


def keep_log_short(app: App) -> None:
    """Above a bar let warnings stand alone, unless level or format of the log was chosen."""
    origins = app.loaded.origins
    if {origins["log.level"], origins["log.format"]} == {"default"}:
        configure("WARNING", app.settings.log.format)


def watch_runs(app: App, *, wait_s: float = 0.0, is_shown: bool = False) -> RunWatch:
    """A watch that knows the waits of the configuration, and how long the lease is waited for."""
    sync = app.settings.sync
    waits_s = wait_s + (sync.retry_after_max + sync.patience).total_seconds()
    return RunWatch(app.runtime.monotonic, stalled_s_max=STALLED_S + waits_s, is_shown=is_shown)


async def find_total(app: App, watch: RunWatch) -> None:
    """Set the total of a full run: from the last publication, else by counting a roster file."""
    try:
        # A connection to SQLite that is cancelled while it opens leaves a thread that never ends.
        with anyio.CancelScope(shield=True):
            async with app.database(patience_s_max=_TOTAL_S) as store:
                last = await store.read(last_full_publication)
        if last is not None:
            watch.total = last.totals["persons_total"] - last.totals["persons_departed"]
        elif app.settings.roster.path is not None and str(app.settings.roster.path) != "-":
            watch.total = (await count_roster(app.roster())).entries
    except WorkerError as error:  # the run itself reports it
        log.debug("run.total_unknown", code=int(error.exit_code))


async def report_runs(
    watch: RunWatch,
    runtime: Runtime,
    stop: anyio.Event,
    *,
    is_logged: bool = True,
    idle: Callable[[], str] = lambda: "starting",
) -> None:
    """Beside runs, keep systemd and the log informed.

    Args:
        is_logged: write a heartbeat to the log.
        idle: the status while no run is on.
    """
    notifier = Notifier()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_described, watch, runtime)
        tasks.start_soon(_announce_stop, notifier, stop)
        if is_logged:
            tasks.start_soon(keep_logging, watch, runtime)
        await keep_notified(notifier, watch, runtime, idle)


async def keep_notified(
    notifier: Notifier, watch: RunWatch, runtime: Runtime, idle: Callable[[], str]
) -> None:
    """Tell systemd that the service is ready, what it does, and that it is alive.

    The event loop sends ``WATCHDOG=1``, so a loop that is stuck is silent, and so is one whose run
    makes no progress.
    """
    notifier.send("READY=1", wait_s=_READY_S)
    pause_s = min(_STATUS_S, (notifier.watchdog_s or _STATUS_S) / 3)
    while True:
        watch.describe()
        note = f" ({watch.note})" if watch.note else ""
        status = f"STATUS={watch.words or idle()}{note}"
        if watch.is_stuck:
            log.error("run.stuck", hint="with WatchdogSec= systemd restarts the worker")
            notifier.send(status)
        else:
            notifier.send("WATCHDOG=1", status)
        await runtime.sleep(pause_s)


async def _keep_described(watch: RunWatch, runtime: Runtime) -> None:
    """Rate and reason change although nothing is read."""
    while True:
        watch.describe()
        await runtime.sleep(_DESCRIBED_S)


async def keep_logging(watch: RunWatch, runtime: Runtime) -> None:
    """Log the progress of a run every minute."""
    while True:
        await runtime.sleep(HEARTBEAT_S)
        if (figures := watch.figures()) is not None:
            log.info("run.heartbeat", **figures)


async def _announce_stop(notifier: Notifier, stop: anyio.Event) -> None:
    await stop.wait()
    notifier.send("STOPPING=1")
