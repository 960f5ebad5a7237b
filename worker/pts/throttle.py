"""Lets requests to PTS go at the pace of ``worker.core.pace``, and says why a run is slow."""

from datetime import datetime
from typing import Final

import anyio
import structlog

from worker.core.pace import Pace
from worker.core.retry import instant_after
from worker.ports import Runtime

PAUSE_LOGGED_S: Final = 5.0
"""Longer pauses are logged at INFO."""

_log = structlog.get_logger(__name__)


class Throttle:
    """Lets requests go, one by one. Call ``leave`` once after every ``enter``.

    Args:
        requests_per_second: the ceiling; may be infinite.
        concurrency: the ceiling on requests under way.

    Attributes:
        pace: the current pace.
    """

    def __init__(
        self, requests_per_second: float, runtime: Runtime, *, concurrency: int = 1_000
    ) -> None:
        if not requests_per_second > 0:
            raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
        self.pace = Pace(requests_per_second, concurrency)
        self._runtime = runtime
        self._in_flight = 0
        self._turns = anyio.Lock(fast_acquire=True)
        self._probes = anyio.Lock(fast_acquire=True)
        self._change: anyio.Event | None = None
        self._paused_s = 0.0

    @property
    def is_held(self) -> bool:
        """See ``Gate.is_held``."""
        return self.pace.held_s > 0

    async def enter(self, *, is_probe: bool = False) -> int:
        """Wait until a request may be sent. Call it before making the DPoP proof, which ages.

        Args:
            is_probe: send it before others, and while they are held back.

        Returns:
            The request's number, for ``answered``.
        """
        async with self._probes if is_probe else self._turns:
            while True:
                now_s = self._runtime.monotonic()
                if self._in_flight >= self.pace.limit or (self.is_held and not is_probe):
                    await self._changed()
                elif (wait_s := self.pace.wait_s(now_s)) > 0:
                    await self._runtime.sleep(wait_s)
                else:
                    self._in_flight += 1
                    return self.pace.send(now_s)

    def leave(self) -> None:
        """End an attempt, whatever its outcome."""
        self._in_flight -= 1
        self._notify()

    def answered(self, number: int, who: str, *, status: int, retry_after_s: float = 0.0) -> None:
        """Record an answer; see ``Pace.answered``."""
        pace, now_s = self.pace, self._runtime.monotonic()
        share, paused_until_s = pace.share, max(now_s, pace.paused_until_s)
        pace.answered(number, who, now_s, status=status, retry_after_s=retry_after_s)
        if pace.share < share:
            rate = round(pace.rate, 1)
            reason = f"status {status}"
            _log.info("pts.slower", requests_per_second=rate, concurrency=pace.limit, reason=reason)
        if pace.paused_until_s > paused_until_s:
            self._paused_s += pace.paused_until_s - paused_until_s
            if pace.paused_until_s - paused_until_s > PAUSE_LOGGED_S:
                until = self._time_of(pace.paused_until_s).isoformat(timespec="seconds")
                _log.info("pts.pause", reason=f"status {status}, Retry-After", until=until)

    def hold(self, spacing_s: float) -> None:
        """Send only probes from now on, one in so many seconds."""
        self.pace.held_s = spacing_s

    def release(self) -> None:
        """Send everything again."""
        self.pace.held_s = 0.0
        self._notify()

    async def drained(self) -> None:
        """Wait until no request is under way."""
        while self._in_flight:
            await self._changed()

    def slowness(self) -> str:
        """Why requests wait, or are sent more slowly than configured; empty if neither."""
        if self.pace.paused_until_s > self._runtime.monotonic():
            until = self._time_of(self.pace.paused_until_s)
            return f"PTS asked for a pause: waiting until {until:%H:%M:%S} UTC"
        if self.is_held:
            return "PTS or HelseID answers nobody: asking one request at a time"
        if self.pace.share < 1:
            return f"PTS refused requests: at most {self.pace.rate:,.1f} requests/s"
        return ""

    def slowed_by(self) -> str:
        """Why this run was slower than configured; empty if it was not."""
        said = []
        if self.pace.least < 1:
            rate = self.pace.least * self.pace.requests_per_second
            said.append(f"PTS refused requests (429 or 503), down to {rate:,.1f} requests/s")
        if self._paused_s >= 1:
            said.append(f"it asked for pauses of {self._paused_s:,.0f} s (Retry-After)")
        return "; ".join(said)

    def _time_of(self, at_s: float) -> datetime:
        return instant_after(self._runtime.now(), at_s - self._runtime.monotonic())

    async def _changed(self) -> None:
        self._change = self._change or anyio.Event()
        await self._change.wait()

    def _notify(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None
