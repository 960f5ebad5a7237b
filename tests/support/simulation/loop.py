"""An event loop in which time passes only when everybody waits, and a seed orders what is ready.

It plays forty minutes of a night in a second or two, and in the same order each time.
"""

import asyncio
import contextvars
import heapq
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel

from tests.support.program import TimeLimitError
from worker.ports import Runtime
from worker.roster import csv_file

PROCESS: contextvars.ContextVar[int] = contextvars.ContextVar("PROCESS", default=0)
"""The simulated process that a task belongs to; 0 is the test itself."""


_ITERATION_S = 1e-6
"""What an iteration takes: where no time passes at all, a wait of one ulp never ends."""


LIMIT_S = 100.0
"""Processor seconds that one world may take: a hundred times what most of them do."""


class StuckError(AssertionError):
    """Everybody waits for something that will never come."""


class Clock:
    """The time of one simulated world.

    Attributes:
        elapsed_s: the monotonic clock.
        leap_s: how far all wall clocks have jumped.
        skew_s: how far the worker's wall clock is off besides.
    """

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.elapsed_s = 0.0
        self.leap_s = 0.0
        self.skew_s = 0.0

    def true_now(self) -> datetime:
        """The wall clock of everybody else."""
        return self.start + timedelta(seconds=self.elapsed_s + self.leap_s)

    def now(self) -> datetime:
        """The wall clock of the worker's machine."""
        return (self.true_now() + timedelta(seconds=self.skew_s)).astimezone(UTC)

    def epoch_s(self) -> float:
        """The true time in seconds since 1970."""
        return self.true_now().timestamp()

    def runtime(self) -> Runtime:
        """These clocks; nothing else is drawn."""
        return Runtime(
            now=self.now,
            monotonic=lambda: self.elapsed_s,
            sleep=anyio.sleep,
            uniform=lambda: 0.5,
            new_id=lambda: "id",
        )


class SimTask(asyncio.Task[Any]):
    """A task with a number, so that an order can be had that no memory address decides."""

    serial: int = -1


def _serial(handle: Any) -> int:
    """The number of the task that a handle runs; -1 for a callback of something else."""
    return getattr(getattr(handle._callback, "__self__", None), "serial", -1)


class SimLoop(asyncio.BaseEventLoop):
    """Runs everything that is ready in an order of the seed's choosing, then turns the clock.

    There is no selector: nothing in a simulated world has a socket or a thread. Handles of a
    process in ``paused`` are held back until it goes on, as after SIGSTOP; its timers run on.
    """

    _ready: deque[Any]
    _scheduled: list[Any]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        super().__init__()
        self.clock = clock
        self.paused: set[int] = set()
        self.steps = 0
        self.is_over_limit = False
        self._until_s = time.process_time() + LIMIT_S
        self._rng = rng
        self._tasks_made = 0
        self.set_task_factory(self._make_task)
        self._held: dict[int, list[asyncio.Handle]] = defaultdict(list)

    def _make_task(self, _loop: Any, coroutine: Any, **options: Any) -> SimTask:
        task = SimTask(coroutine, loop=self, **options)
        self._tasks_made += 1
        task.serial = self._tasks_made
        return task

    def time(self) -> float:
        """The virtual monotonic clock."""
        return self.clock.elapsed_s

    def resume(self, process: int) -> None:
        """Let a paused process go on with everything that has become ready meanwhile."""
        self.paused.discard(process)
        self._ready.extend(self._held.pop(process, ()))

    def _write_to_self(self) -> None:
        """Nothing sleeps in a selector that would have to be woken."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _check_limit(self) -> None:
        """Between two steps, so that the limit never strikes inside a simulated process."""
        if not self.is_over_limit and time.process_time() > self._until_s:
            self.is_over_limit = True
            raise TimeLimitError("still in one world", LIMIT_S)

    def _run_once(self) -> None:
        self._check_limit()
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
            self._timer_cancelled_count -= 1
        if not self._ready and not self._stopping:
            if not timers:
                raise StuckError("nothing is ready and nothing is scheduled")
            self.clock.elapsed_s = max(self.clock.elapsed_s, timers[0]._when)
        self.clock.elapsed_s += _ITERATION_S
        while timers and timers[0]._when <= self.clock.elapsed_s:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            self._ready.append(handle)
        batch = list(self._ready)
        self._ready.clear()
        if len(batch) > 1:
            batch.sort(key=_serial)
            self._rng.shuffle(batch)
        for handle in batch:
            if handle._cancelled:
                continue
            if self.paused:
                process = handle._context.get(PROCESS, 0)
                if process in self.paused:
                    self._held[process].append(handle)
                    continue
            self.steps += 1
            handle._run()


class _Inline:
    """Stands where the roster calls ``anyio.to_thread``: a thread is what no seed can order."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before

    async def run_sync(self, function: Any, *args: Any, **_options: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        self._before()
        return function(*args)


@contextmanager
def inline_files(before: Callable[[], None]):
    """Let the roster's file be read in the loop; ``before`` each read."""
    reader: Any = csv_file
    threads = reader.to_thread
    reader.to_thread = _Inline(before)
    try:
        yield
    finally:
        reader.to_thread = threads


def run_simulated(
    main: Callable[[SimLoop], Coroutine[Any, Any, Any]], clock: Clock, rng: random.Random
) -> Any:
    """Run ``main`` in a loop of its own, to its end.

    Raises:
        TimeLimitError: it took too long; whatever else came of that is no finding.
    """
    loop = SimLoop(clock, rng)

    async def begin() -> Any:
        return await main(loop)

    try:
        return anyio.run(begin, backend_options={"loop_factory": lambda: loop})
    except BaseException:
        if not loop.is_over_limit:
            raise
        what = f"{clock.elapsed_s:.0f} virtual seconds, and no end,"
        raise TimeLimitError(what, LIMIT_S) from None
