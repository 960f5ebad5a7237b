"""The pace of requests to PTS, kept by the whole worker together."""

from typing import Final

from worker.ports import Runtime

_BURST_S: Final = 0.05
"""How much of a second's worth of requests may go at once."""


class Throttle:
    """Spaces requests evenly and holds them all back while PTS asks for it.

    The generic cell rate algorithm (ITU-T I.371): each request has a slot, ``1 / rate`` after the
    one before; a request may be early by the burst.

    Args:
        requests_per_second: the ceiling; infinity for none.
        runtime: clock and sleep.
    """

    def __init__(self, requests_per_second: float, runtime: Runtime) -> None:
        self._runtime = runtime
        self._next_slot_s = 0.0
        self._paused_until_s = 0.0
        self._pauses = 0
        self.set_rate(requests_per_second)

    def set_rate(self, requests_per_second: float) -> None:
        """Change the ceiling, e.g. when the number of shards changes.

        Raises:
            ValueError: it is not above 0.
        """
        if not requests_per_second > 0:
            raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
        self._spacing_s = 1.0 / requests_per_second
        burst = max(1.0, _BURST_S * requests_per_second)
        self._early_s = (burst - 1.0) * self._spacing_s if self._spacing_s else 0.0

    async def enter(self) -> None:
        """Wait for this request's turn. Enter before the proof is made: a proof must not age."""
        now_s = self._runtime.monotonic()
        while True:
            pauses = self._pauses
            slot_s = max(now_s, self._next_slot_s)
            self._next_slot_s = slot_s + self._spacing_s
            turn_s = max(slot_s - self._early_s, self._paused_until_s)
            while now_s < turn_s and pauses == self._pauses:
                await self._runtime.sleep(turn_s - now_s)
                now_s = self._runtime.monotonic()
            if pauses == self._pauses:
                return

    def pause_for(self, seconds: float) -> None:
        """Hold every request back for that long from now; those already waiting queue anew."""
        until_s = self._runtime.monotonic() + seconds
        if until_s > self._paused_until_s:
            self._paused_until_s = until_s
            self._next_slot_s = until_s
            self._pauses += 1

    def succeeded(self) -> None:
        """PTS answered as it should."""

    def pushed_back(self, retry_after_s: float | None) -> None:
        """PTS asked for less, and perhaps for how long."""
        if retry_after_s:
            self.pause_for(retry_after_s)
