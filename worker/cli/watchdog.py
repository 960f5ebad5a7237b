"""Ends a process whose event loop is stuck when it was asked to stop, or is beyond its deadline.

A thread of its own looks at a clock that the event loop turns. It needs the interpreter now and
then: a call into C that never gives it back cannot be ended from within.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final, Self

import anyio

from worker.errors import ExitCode

STUCK_S: Final = 5.0
"""Seconds without a turn of the event loop after which it counts as stuck."""
SLOW_S: Final = 8.0
"""Seconds after which a process that was asked to stop ends, if its event loop hardly turns."""
_SLOW_TURN_S: Final = 1.5
"""A turn of the event loop that took so long kept others from stopping."""
_LOOK_S: Final = 0.25
_TURN_S: Final = 0.5


class Watchdog:
    """Watches one event loop; enter it in the loop's own thread.

    Args:
        monotonic: the clock, in seconds.
        deadline_s: seconds from now after which the process must have come to its end.
    """

    def __init__(self, monotonic: Callable[[], float], deadline_s: float | None = None) -> None:
        self._monotonic = monotonic
        self._deadline_at_s = None if deadline_s is None else monotonic() + deadline_s
        self._turned_at_s = monotonic()
        self._asked_at_s: float | None = None
        self._slowest_s = 0.0
        self._is_over = threading.Event()

    async def beat(self) -> None:
        """Turn the clock until cancelled."""
        while True:
            now_s = self._monotonic()
            if self._asked_at_s is not None:
                self._slowest_s = max(self._slowest_s, now_s - self._turned_at_s)
            self._turned_at_s = now_s
            await anyio.sleep(_TURN_S)  # noqa: TID251 - the real loop's own time

    def asked(self) -> None:
        """The process was asked to stop."""
        if self._asked_at_s is None:
            self._asked_at_s = self._monotonic()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_S):
            now_s = self._monotonic()
            is_late = self._deadline_at_s is not None and now_s > self._deadline_at_s
            asked_at_s = self._asked_at_s
            is_stuck = now_s - self._turned_at_s > STUCK_S
            is_slow = (
                asked_at_s is not None
                and now_s - asked_at_s > SLOW_S
                and max(self._slowest_s, now_s - self._turned_at_s) > _SLOW_TURN_S
            )
            if is_slow or (is_stuck and (asked_at_s is not None or is_late)):
                why = "beyond sync.deadline" if asked_at_s is None else "asked to stop"
                since_s = self._turned_at_s if is_stuck or asked_at_s is None else asked_at_s
                sys.stderr.write(
                    f"pts-worker: {why}, and stuck for {now_s - since_s:.0f} s: ended at once; "
                    "what was committed is kept, and the next run continues\n"
                )
                sys.stderr.flush()
                os._exit(ExitCode.STOPPED)


def on_signals(asked: Callable[[], None]) -> Callable[[], None]:
    """Have SIGTERM and SIGINT call ``asked`` in the main thread, between any two steps of Python.

    Unlike an event loop's own handlers these run although the loop is stuck.

    Returns:
        Puts the former handlers back.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)

    def handle(_number: int, _frame: FrameType | None) -> None:
        asked()

    former = {number: signal.signal(number, handle) for number in numbers}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    return restore
