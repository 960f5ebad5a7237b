"""The pace of requests to PTS: when the next one may be sent, and which answers change that.

``docs/architecture.md`` says it in words.
"""

import math
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import anyio
import structlog

from worker.core.retry import instant_after
from worker.ports import Runtime

RATE_MIN: Final = 1.0
"""Nothing halves it further: with this 20,000 requests still end in a night."""
CLEAN_S: Final = 30.0
"""Refusals halve the rate; each half minute without that makes it half as much again."""
MANY: Final = 3
OF_WAITS: Final = 10
OF_REFUSALS: Final = 30
"""So many of the last answers, to different persons, speak for all: fewer may be about persons.
Three refusals in thirty are a limit of PTS that lies a little below the ceiling."""
_BURST_S: Final = 0.05
"""The requests that fit in this time may go at once: timers are coarser than a high rate."""
_REFUSALS: Final = frozenset({429, 503})

_log = structlog.get_logger(__name__)


class _Answer(NamedTuple):
    """What an answer said of the pace.

    Attributes:
        refused_s: when the request was sent that was refused.
        until_s: until when PTS asked to wait.
    """

    who: str
    refused_s: float
    until_s: float


class Pace:
    """Lets requests go, one by one (promise 7): a token bucket, at the rate that PTS sustains.

    Args:
        requests_per_second: the ceiling; may be infinite.

    Attributes:
        rate: requests per second at present, at most.
    """

    def __init__(self, requests_per_second: float, runtime: Runtime) -> None:
        if not requests_per_second > 0:
            raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
        self.rate = self._ceiling = self._least = requests_per_second
        self._runtime = runtime
        self._turn_s = self._send_s = self._paused_until_s = self._changed_s = -math.inf
        self._last: deque[_Answer] = deque(maxlen=OF_REFUSALS)
        self._released: anyio.Event | None = None
        self._reason = ""
        self._spacing_s = self._held_since_s = self._held_s = self._paused_s = 0.0

    @property
    def is_held(self) -> bool:
        """Whether only probes are sent."""
        return self._released is not None

    async def turn(self, *, is_probe: bool = False) -> None:
        """Wait for a request's turn; then get a token and a connection, which age, for it.

        Args:
            is_probe: do not wait with those that are held back.
        """
        while True:
            if self._released is not None and not is_probe:
                await self._released.wait()
            now_s = self._runtime.monotonic()
            at_s = max(now_s, self._turn_s, self._paused_until_s)
            self._turn_s = at_s + (self._spacing_s or 1.0 / self.rate)
            if at_s > now_s:
                await self._runtime.sleep(at_s - now_s)
            if self._paused_until_s <= at_s and (is_probe or not self.is_held):
                return

    async def send(self) -> float:
        """Wait until the request may be sent; then make the DPoP proof, which ages, too.

        Those that waited for the same token or connection do not go all at once.

        Returns:
            When it is sent, for ``answered``.
        """
        now_s, apart_s = self._runtime.monotonic(), 1.0 / self.rate
        at_s = max(now_s, self._send_s)
        self._send_s = at_s + apart_s
        if (wait_s := at_s - now_s - max(0.0, _BURST_S - apart_s)) > 0:
            await self._runtime.sleep(wait_s)
        sent_s = self._runtime.monotonic()
        self._turn_s = max(self._turn_s, sent_s + self._spacing_s)
        return sent_s

    def answered(self, who: str, sent_s: float, *, status: int, retry_after_s: float = 0.0) -> None:
        """Slow down or pause, if this answer and the last ones say so of everybody.

        Args:
            who: the person.
            sent_s: what ``send`` returned.
            retry_after_s: how long PTS asks to wait, if the run would wait so long.
        """
        now_s, is_refused = self._runtime.monotonic(), status in _REFUSALS
        until_s = now_s + retry_after_s if retry_after_s else -math.inf
        self._last.append(_Answer(who, sent_s if is_refused else -math.inf, until_s))
        if retry_after_s:
            self._pause(now_s)
        if is_refused:
            self._slow_down(now_s)
        elif self.rate < self._ceiling and now_s - self._changed_s >= CLEAN_S:
            self.rate, self._changed_s = min(self._ceiling, 1.5 * self.rate), now_s

    def _pause(self, now_s: float) -> None:
        asked = [one for one in tuple(self._last)[-OF_WAITS:] if one.until_s > -math.inf]
        until_s = max(one.until_s for one in asked)
        more_s = until_s - max(now_s, self._paused_until_s)
        if _are_few(asked) or more_s <= 0:
            return
        if self._paused_until_s <= now_s:
            _log.info("pts.pause", until=self._time_of(until_s).isoformat(timespec="seconds"))
        self._paused_until_s = until_s
        self._paused_s += more_s

    def _slow_down(self, now_s: float) -> None:
        # What was under way at the last change says nothing of the rate since.
        if self.is_held or _are_few(one for one in self._last if one.refused_s > self._changed_s):
            return
        before, self.rate = self.rate, max(self.rate / 2, min(RATE_MIN, self._ceiling))
        self._least, self._changed_s = min(self._least, self.rate), now_s
        if self.rate < before:
            _log.info("pts.slower", requests_per_second=round(self.rate, 1))

    def hold(self, spacing_s: float, reason: str) -> None:
        """Send only probes from now on, one in so many seconds, and say why."""
        self._released, self._spacing_s, self._reason = anyio.Event(), spacing_s, reason
        self._held_since_s = self._runtime.monotonic()
        self._turn_s = self._held_since_s + spacing_s

    def release(self) -> None:
        """Send everything again."""
        if self._released is not None:
            self._released.set()
            self._released, self._spacing_s, self._turn_s = None, 0.0, -math.inf
            self._changed_s = self._runtime.monotonic()
            self._held_s += self._changed_s - self._held_since_s
            # What an outage refused says nothing of the rate.
            self.rate = self._ceiling

    def slowness(self) -> str:
        """Why requests wait, or are sent more slowly than configured; empty if neither."""
        if self._paused_until_s > self._runtime.monotonic():
            until = self._time_of(self._paused_until_s)
            return f"PTS asked for a pause: waiting until {until:%H:%M:%S} UTC"
        if self.is_held:
            return f"nobody can be read, so only one request is sent at a time ({self._reason})"
        if self.rate < self._ceiling:
            return f"PTS refused requests: at most {self.rate:,.1f} requests/s"
        return ""

    def slowed_by(self) -> tuple[str, ...]:
        """Why this run was slower than configured, for its summary; nothing if it was not."""
        said = []
        if self._least < self._ceiling:
            said.append(f"PTS refused requests (429 or 503), down to {self._least:,.1f} requests/s")
        if self._paused_s >= 1:
            said.append(f"it asked for pauses of {self._paused_s:,.0f} s (Retry-After)")
        if self._held_s >= 1:
            said.append(f"reads were held back for {self._held_s:,.0f} s")
        return (f"slower than configured: {'; '.join(said)}",) if said else ()

    def _time_of(self, at_s: float) -> datetime:
        return instant_after(self._runtime.now(), at_s - self._runtime.monotonic())


def _are_few(answers: Iterable[_Answer]) -> bool:
    return len({one.who for one in answers}) < MANY
