"""How a command that runs is stopped: by signals, and by a watchdog if its event loop is stuck.

The watchdog is a thread that watches a heartbeat of the event loop. It needs the interpreter lock
from time to time: a call into C that never releases it cannot be ended from within the process.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import FrameType
from typing import Any, Final, Self, TypeAlias

import anyio

from worker.errors import ExitCode
from worker.ports import Runtime
from worker.streams import stop_signals, write_last_line

STUCK_S: Final = 5.0
"""Seconds without an iteration of the event loop after which it counts as stuck."""
SLOW_S: Final = 8.0
"""Seconds from a stop request until the process ends, if its event loop is slow."""
_SLOW_ITERATION_S: Final = 1.5
"""An event loop iteration of this length is slow: it prevents other tasks from stopping."""
_CHECK_S: Final = 0.25
_BEAT_S: Final = 0.5

Beside: TypeAlias = Callable[[anyio.Event], Coroutine[Any, Any, None]]
"""What goes on at the same time as a command's work; it gets the event that asks for a stop."""


async def stoppable(
    work: Callable[[anyio.Event], Awaitable[Any]],
    runtime: Runtime,
    *,
    deadline_s: float | None = None,
    beside: Sequence[Beside] = (),
) -> Any:
    """Run ``work``; SIGTERM, SIGINT or SIGHUP sets its event, a second one cancels it.

    What is being committed is finished even then. Where the event loop is stuck the process is
    ended all the same (``Watchdog``). An error of ``work`` leaves as it is, not in the
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


class Watchdog:
    """Watches one event loop; enter it in the loop's own thread.

    Args:
        deadline_s: seconds from now after which the process must have ended.
    """

    def __init__(self, monotonic: Callable[[], float], deadline_s: float | None = None) -> None:
        self._monotonic = monotonic
        self._deadline_at_s = None if deadline_s is None else monotonic() + deadline_s
        self._beat_at_s = monotonic()
        self._asked_at_s: float | None = None
        self._slowest_s = 0.0
        self._is_over = threading.Event()

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            now_s = self._monotonic()
            if self._asked_at_s is not None:
                self._slowest_s = max(self._slowest_s, now_s - self._beat_at_s)
            self._beat_at_s = now_s
            await anyio.sleep(_BEAT_S)  # noqa: TID251 - the real loop's own time

    def asked(self) -> None:
        """Record that the process was asked to stop."""
        if self._asked_at_s is None:
            self._asked_at_s = self._monotonic()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def _watch(self) -> None:
        while not self._is_over.wait(_CHECK_S):
            now_s = self._monotonic()
            is_late = self._deadline_at_s is not None and now_s > self._deadline_at_s
            asked_at_s = self._asked_at_s
            is_stuck = now_s - self._beat_at_s > STUCK_S
            is_slow = (
                asked_at_s is not None
                and now_s - asked_at_s > SLOW_S
                and max(self._slowest_s, now_s - self._beat_at_s) > _SLOW_ITERATION_S
            )
            if is_slow or (is_stuck and (asked_at_s is not None or is_late)):
                why = "beyond sync.deadline" if asked_at_s is None else "asked to stop"
                since_s = self._beat_at_s if is_stuck or asked_at_s is None else asked_at_s
                write_last_line(
                    f"pts-worker: {why}, and stuck for {now_s - since_s:.0f} s: ended at once; "
                    "what was committed is kept, and the next run continues\n"
                )
                os._exit(ExitCode.STOPPED)


def on_signals(asked: Callable[[], None]) -> Callable[[], None]:
    """Make the stop signals call ``asked`` in the main thread, between two bytecodes.

    Unlike an event loop's own handlers, these also run when the loop is stuck. Of several SIGHUP
    one counts: the kernel and the shell both send it when a terminal is closed.

    Returns:
        A function that restores the former handlers.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)
        asked()

    former = {number: signal.signal(number, handle) for number in stop_signals()}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    return restore
