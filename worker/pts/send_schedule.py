"""Schedules the send times of requests."""

from collections.abc import Callable
from typing import Final

from worker.ports import Runtime

_BURST_S: Final = 0.05
"""Burst size: the requests that fit in this time at the current rate may go at once."""


class SendSchedule:
    """Spaces requests evenly with the generic cell rate algorithm (ITU-T I.371).

    Send times are ``1 / rate`` apart; a request may be early by the burst. When the rate or a pause
    changes, waiting requests get new send times.

    Attributes:
        paused_until_s: nothing is sent before this monotonic time.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._spacing_s = 0.0
        self._early_s = 0.0
        self._next_s = 0.0
        self._changes = 0
        self.paused_until_s = 0.0

    def set_rate(self, requests_per_second: float) -> None:
        """Change the rate of later send times; ``reschedule`` applies it to waiting requests."""
        self._spacing_s = 1.0 / requests_per_second
        burst = max(1.0, _BURST_S * requests_per_second)
        self._early_s = (burst - 1.0) * self._spacing_s if self._spacing_s else 0.0

    def reschedule(self, now_s: float) -> float:
        """Give waiting requests new send times; return the first one."""
        self._next_s = max(now_s + self._spacing_s, self.paused_until_s)
        self._changes += 1
        return self._next_s

    def pause_until(self, until_s: float) -> None:
        """Send nothing before this monotonic time, and give waiting requests new send times."""
        self.paused_until_s = self._next_s = until_s
        self._changes += 1

    def recheck(self) -> None:
        """Make waiting requests check whether they may still be sent."""
        self._changes += 1

    async def wait(self, may_send: Callable[[], bool]) -> float | None:
        """Wait for a send time.

        Args:
            may_send: called when the schedule changes; if false, the request is not sent.

        Returns:
            The time; ``None`` if the request may no longer be sent.
        """
        now_s = self._runtime.monotonic()
        while True:
            changes = self._changes
            cell_s = max(now_s, self._next_s)
            self._next_s = cell_s + self._spacing_s
            send_s = max(cell_s - self._early_s, self.paused_until_s)
            while now_s < send_s and changes == self._changes:
                await self._runtime.sleep(send_s - now_s)
                now_s = self._runtime.monotonic()
            if changes == self._changes:
                return now_s
            if not may_send():
                return None
