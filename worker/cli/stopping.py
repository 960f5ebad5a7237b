"""How a command that runs is stopped: by signals, and by an alarm if its event loop is stuck.

The handlers of signals run between two bytecodes of the main thread: a call into C that never
returns cannot be ended from within the process.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TypeAlias

import anyio

from worker.errors import ExitCode
from worker.streams import stop_signals, write_last_line

STUCK_S: Final = 5.0
"""Seconds without an iteration of the event loop after which it counts as stuck."""
_AT_ONCE_S: Final = 0.001
"""Zero would disarm the timer."""

Beside: TypeAlias = Callable[[anyio.Event], Coroutine[Any, Any, None]]
"""What goes on at the same time as a command's work; it gets the event that asks for a stop."""


async def stoppable(
    work: Callable[[anyio.Event], Awaitable[Any]],
    *,
    deadline_s: float | None = None,
    beside: Sequence[Beside] = (),
) -> Any:
    """Run ``work``; SIGTERM, SIGINT or SIGHUP sets its event, a second one cancels it.

    What is being committed is finished even then. Where the event loop is stuck the process is
    ended all the same. An error of ``work`` leaves as it is, not in the exception group that a task
    group would make of it: it decides the exit code.

    Args:
        deadline_s: seconds after which ``work`` has ended by itself, unless it is stuck.
        beside: run at the same time, and are cancelled at its end.
    """
    stop = anyio.Event()
    result: Any = None
    fault: Exception | None = None
    loop = asyncio.get_running_loop()
    alarm = _Alarm(loop)
    async with anyio.create_task_group() as tasks:

        def ask() -> None:
            (tasks.cancel_scope.cancel if stop.is_set() else stop.set)()

        def asked() -> None:
            alarm.arm("asked to stop", _AT_ONCE_S)
            loop.call_soon_threadsafe(ask)

        if deadline_s is not None:
            alarm.arm("beyond sync.deadline", deadline_s)
        with _on_signals(asked):
            for task in beside:
                tasks.start_soon(task, stop)
            try:
                result = await work(stop)
            except Exception as error:  # noqa: BLE001 - raised again below
                fault = error
        alarm.disarm()
        tasks.cancel_scope.cancel()
    if fault is not None:
        raise fault
    return result


class _Alarm:
    """Once it is armed, ends the process if the event loop no longer turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._why = ""
        self._has_turned = True

    def arm(self, why: str, after_s: float) -> None:
        """Look at the loop after so many seconds, and then again and again."""
        self._why = why
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, after_s, STUCK_S)

    def disarm(self) -> None:
        """Look no more."""
        if self._why:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        if not self._has_turned:
            write_last_line(
                f"pts-worker: {self._why}, and stuck for {STUCK_S:.0f} s: ended at once; "
                "what was committed is kept, and the next run continues\n"
            )
            os._exit(ExitCode.STOPPED)
        self._has_turned = False
        self._loop.call_soon_threadsafe(self._turned)

    def _turned(self) -> None:
        self._has_turned = True


@contextmanager
def _on_signals(asked: Callable[[], None]) -> Iterator[None]:
    """Make the stop signals call ``asked``, also where the event loop is stuck.

    Of several SIGHUP one counts: the kernel and the shell both send it when a terminal is closed.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)
        asked()

    former = {number: signal.signal(number, handle) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
