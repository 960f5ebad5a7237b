"""Watches the runs of this process: heartbeat in the log, status and watchdog of systemd."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import structlog

from worker.app import App
from worker.cli.notify import Notifier
from worker.cli.output import span
from worker.cli.roster_count import count_roster
from worker.cli.stopping import Beside
from worker.core.run import RunProgress
from worker.errors import WorkerError
from worker.ports import Runtime
from worker.store.queries.status import last_full_publication

log = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 60.0
STALLED_S: Final = 3600.0
"""A run without progress for this long, besides its configured waits, is stuck."""
_STATUS_S: Final = 10.0
_READY_S: Final = 1.0
"""How long the first notification may block the event loop."""
_TOTAL_S: Final = 1.0
"""How long a database that is away is waited for, for the total alone."""
WINDOW_S: Final = 60.0
_STEP_S: Final = 1.0
_PAUSE_S: Final = 5.0
"""Work is done in batches: so long after the last one the rate is that up to it."""


class Pace:
    """The rate of the last minute, and how long the rest takes at it.

    Old work, of an earlier process, must not be counted.
    """

    def __init__(self, now_s: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now_s, 0)])

    def add(self, now_s: float, done: int) -> None:
        """Note how much is done in all at a time of a monotonic clock."""
        if done == self._samples[-1][1]:
            return
        if len(self._samples) > 1 and now_s - self._samples[-2][0] < _STEP_S:
            self._samples.pop()
        self._samples.append((now_s, done))
        self._drop(now_s)

    def per_s(self, now_s: float) -> float:
        """The rate of the last minute, or since the start if that is shorter."""
        self._drop(now_s)
        (first_s, before), (last_s, done) = self._samples[0], self._samples[-1]
        until_s = max(last_s, now_s - _PAUSE_S)
        return (done - before) / (until_s - first_s) if until_s > first_s else 0.0

    def left_s(self, now_s: float, left: int) -> float | None:
        """Seconds for the rest at that rate; None if nothing was done in the last minute."""
        rate = self.per_s(now_s)
        return max(left, 0) / rate if rate > 0 else None

    def _drop(self, now_s: float) -> None:
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()


class RunWatch:
    """What is known of the run that is on.

    Args:
        stalled_s_max: seconds without progress after which the run is stuck.
    """

    def __init__(self, monotonic: Callable[[], float], *, stalled_s_max: float = STALLED_S) -> None:
        self._monotonic = monotonic
        self._stalled_s_max = stalled_s_max
        self.total: int | None = None
        self.end()

    def begin(self) -> None:
        """A run begins."""
        self._is_on = True
        self._pace = Pace(self._monotonic())
        self._progress = RunProgress()
        self._progressed_at_s = self._monotonic()

    def end(self) -> None:
        """It has ended."""
        self.begin()
        self._is_on = False

    def changed(self, progress: RunProgress) -> None:
        """It has made progress."""
        self._progress, self._progressed_at_s = progress, self._monotonic()
        self._pace.add(self._progressed_at_s, progress.persons_done - progress.persons_skipped)

    @property
    def is_stuck(self) -> bool:
        """Whether the run made no progress for too long."""
        return self._is_on and self._monotonic() - self._progressed_at_s > self._stalled_s_max

    def figures(self) -> dict[str, Any] | None:
        """Progress of the run as it is logged; None if no run is on.

        The rate is that of the last minute and counts no persons whom an earlier process has read.
        ``eta_s`` is None as long as total or rate are unknown. ``slowness`` says why requests wait
        or are slower than configured, and is empty if neither.
        """
        if not self._is_on:
            return None
        now_s, progress = self._monotonic(), self._progress
        done = progress.persons_done
        total = progress.persons_total or self.total
        left_s = None if total is None else self._pace.left_s(now_s, total - done)
        return {
            "persons_done": done,
            "persons_total": total,
            "persons_with_gaps": progress.persons_with_gaps,
            "rate_per_s": round(self._pace.per_s(now_s), 1),
            "eta_s": None if left_s is None else round(left_s),
            "slowness": progress.slowness(),
        }

    def text(self) -> str:
        """The same in words; empty if no run is on."""
        figures = self.figures()
        if figures is None:
            return ""
        total, eta_s = figures["persons_total"], figures["eta_s"]
        of = "" if total is None else f" of about {total:,}"
        left = "" if eta_s is None else f", {span(eta_s)} left"
        gaps = f", {figures['persons_with_gaps']:,} with gaps" * bool(figures["persons_with_gaps"])
        why = f" ({figures['slowness']})" if figures["slowness"] else ""
        done, rate = figures["persons_done"], figures["rate_per_s"]
        return f"{done:,}{of} persons, {rate:,}/s{left}{gaps}{why}"


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
            watch.total = (await count_roster(app, app.roster())).entries
    except WorkerError as error:  # the run itself reports it
        log.debug("run.total_unknown", code=int(error.exit_code))


async def keep_notified(
    notifier: Notifier, watch: RunWatch, runtime: Runtime, idle: Callable[[], str]
) -> None:
    """Tell systemd that the service is ready, what it does, and that it is alive.

    The event loop sends ``WATCHDOG=1``, so a loop that is stuck is silent, and so is one whose run
    makes no progress.

    Args:
        idle: the status while no run is on.
    """
    notifier.send("READY=1", wait_s=_READY_S)
    pause_s = min(_STATUS_S, (notifier.watchdog_s or _STATUS_S) / 3)
    while True:
        status = f"STATUS={watch.text() or idle()}"
        if watch.is_stuck:
            log.error("run.stuck", hint="with WatchdogSec= systemd restarts the worker")
            notifier.send(status)
        else:
            notifier.send("WATCHDOG=1", status)
        await runtime.sleep(pause_s)


async def keep_logging(watch: RunWatch, runtime: Runtime) -> None:
    """Log the progress of a run every minute."""
    while True:
        await runtime.sleep(HEARTBEAT_S)
        if (figures := watch.figures()) is not None:
            log.info("run.heartbeat", **figures)


async def announce_stop(notifier: Notifier, stop: anyio.Event) -> None:
    """Tell systemd when the service begins to stop."""
    await stop.wait()
    notifier.send("STOPPING=1")


def watch_runs(app: App, *, wait_s: float = 0.0) -> RunWatch:
    """A watch that knows the waits of the configuration, and how long the lease is waited for."""
    sync = app.settings.sync
    waits_s = wait_s + (sync.retry_after_max + sync.patience).total_seconds()
    return RunWatch(app.runtime.monotonic, stalled_s_max=STALLED_S + waits_s)


def beside_runs(
    app: App, watch: RunWatch, *, is_logged: bool, idle: Callable[[], str]
) -> Sequence[Beside]:
    """What goes on beside runs: notifications to systemd, and the heartbeat if ``is_logged``."""
    notifier = Notifier()
    tasks: list[Beside] = [
        lambda _: keep_notified(notifier, watch, app.runtime, idle),
        lambda stop: announce_stop(notifier, stop),
    ]
    return [*tasks, lambda _: keep_logging(watch, app.runtime)] if is_logged else tasks
