"""Lets requests to PTS go: when the next one may be sent, what answers change in that, and why.

``docs/architecture.md`` says it in words.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import anyio
import structlog

from worker.core.retry import instant_after
from worker.ports import Runtime

RATE_MIN: Final = 1.0
"""Cuts end at this many requests per second, with which 20,000 requests still end in a night."""
CUT: Final = 0.5
STEP: Final = 1.5
CLEAN_S: Final = 30.0
"""A cut halves rate and concurrency; each half minute without one makes them half as much again."""
MANY: Final = 3
OF_WAITS: Final = 10
OF_REFUSALS: Final = 30
"""So many of the last answers, to different persons, speak for all: fewer may be about persons.
Three refusals in thirty are a limit of PTS that lies a little below the ceiling."""
_BURST_S: Final = 0.05
"""The requests that fit in this time may go at once: timers are coarser than a high rate."""
_REFUSALS: Final = frozenset({429, 503})
_PAUSE_LOGGED_S: Final = 5.0
"""Longer pauses are logged at INFO."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pace:
    """A token bucket and a limit on requests under way, and their share that PTS sustains.

    It decides; times are monotonic seconds, passed in.

    Attributes:
        requests_per_second, concurrency: the ceilings.
        share: of both ceilings, at present.
        least: the smallest share so far.
        held_s: the time between two requests while nobody can be read; 0: the usual pace.
        paused_until_s: nothing is sent before, because PTS asked everybody to wait.
    """

    requests_per_second: float
    concurrency: int
    share: float = 1.0
    least: float = 1.0
    held_s: float = 0.0
    paused_until_s: float = -math.inf
    _sent: int = 0
    _sent_at_cut: int = 0
    _sent_s: float = -math.inf
    _next_s: float = -math.inf
    _clean_since_s: float = 0.0
    _waits: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=OF_WAITS))
    _refusals: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=OF_REFUSALS))

    @property
    def rate(self) -> float:
        """Requests per second at present."""
        return self.share * self.requests_per_second

    @property
    def limit(self) -> int:
        """Requests that may be under way at present."""
        return max(1, int(self.share * self.concurrency))

    def wait_s(self, now_s: float, *, is_next: bool = False) -> float:
        """Seconds until a request may be sent; none if not positive.

        Args:
            is_next: it has had a turn, and given it back.
        """
        if self.held_s:
            next_s = -math.inf if is_next else self._sent_s + self.held_s
        else:
            next_s = self._next_s - max(0.0, _BURST_S - 1.0 / self.rate)
        return max(next_s, self.paused_until_s) - now_s

    def send(self, now_s: float) -> int:
        """Record that a request is sent; return its number."""
        self._sent_s = now_s
        self._next_s = max(self._next_s, now_s) + 1.0 / self.rate
        self._sent += 1
        return self._sent

    def give_back(self) -> None:
        """Record that a request was not sent, although its turn had come."""
        self._next_s -= 1.0 / self.rate

    def answered(
        self, number: int, who: str, now_s: float, *, status: int, retry_after_s: float = 0.0
    ) -> None:
        """Record an answer, and slow down or pause if it and the last ones say so of everybody.

        Args:
            number: what ``send`` returned.
            who: the person.
            retry_after_s: how long PTS asks to wait, if the run would wait so long.
        """
        is_refusal = status in _REFUSALS
        self._waits.append((who, now_s + retry_after_s if retry_after_s else -math.inf))
        if not is_refusal and now_s - self._clean_since_s >= CLEAN_S:
            self.share, self._clean_since_s = min(1.0, self.share * STEP), now_s
        asked = [wait for wait in self._waits if wait[1] > -math.inf]
        if retry_after_s and len({who for who, _ in asked}) >= MANY:
            self.paused_until_s = max(until_s for _, until_s in asked)
        # Who is refused again says nothing new: it may be for ever.
        if is_refusal and who not in {who for who, _ in self._refusals}:
            self._refusals.append((who, number))
            self._cut(now_s)

    def _cut(self, now_s: float) -> None:
        # What was under way at the last cut says nothing of the pace since.
        since = max(self._sent_at_cut, self._sent - OF_REFUSALS)
        if sum(number > since for _, number in self._refusals) >= MANY:
            floor = min(1.0, RATE_MIN / self.requests_per_second)
            self.share = max(CUT * self.share, floor)
            self.least = min(self.least, self.share)
            self._sent_at_cut, self._clean_since_s = self._sent, now_s


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
        self._next = anyio.Lock(fast_acquire=True)
        self._probes = anyio.Lock(fast_acquire=True)
        self._change: anyio.Event | None = None
        self._paused_s = 0.0
        self._held_s = 0.0
        self._held_since_s = 0.0

    @property
    def is_held(self) -> bool:
        """Whether only probes are sent."""
        return self.pace.held_s > 0

    async def enter(self, *, is_probe: bool = False, is_next: bool = False) -> int:
        """Wait until a request may be sent. Call it before making the DPoP proof, which ages.

        Args:
            is_probe: send it before others, and while they are held back.
            is_next: send it before others: it has had a turn, and given it back.

        Returns:
            The request's number, for ``answered``.
        """
        queue = self._next if is_next else self._turns
        async with self._probes if is_probe else queue:
            while True:
                now_s = self._runtime.monotonic()
                if self._in_flight >= self.pace.limit or (self.is_held and not is_probe):
                    await self._changed()
                elif (wait_s := self.pace.wait_s(now_s, is_next=is_next)) > 0:
                    await self._runtime.sleep(wait_s)
                else:
                    self._in_flight += 1
                    return self.pace.send(now_s)

    def leave(self, *, is_unused: bool = False) -> None:
        """End an attempt, whatever its outcome.

        Args:
            is_unused: give the turn back.
        """
        self._in_flight -= 1
        if is_unused:
            self.pace.give_back()
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
            if pace.paused_until_s - paused_until_s > _PAUSE_LOGGED_S:
                until = self._time_of(pace.paused_until_s).isoformat(timespec="seconds")
                _log.info("pts.pause", reason=f"status {status}, Retry-After", until=until)

    def hold(self, spacing_s: float) -> None:
        """Send only probes from now on, one in so many seconds."""
        self.pace.held_s, self._held_since_s = spacing_s, self._runtime.monotonic()

    def release(self) -> None:
        """Send everything again."""
        self.pace.held_s = 0.0
        self._held_s += self._runtime.monotonic() - self._held_since_s
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

    def slowed_by(self) -> tuple[str, ...]:
        """Why this run was slower than configured, for its summary; nothing if it was not."""
        said = []
        if self.pace.least < 1:
            rate = self.pace.least * self.pace.requests_per_second
            said.append(f"PTS refused requests (429 or 503), down to {rate:,.1f} requests/s")
        if self._paused_s >= 1:
            said.append(f"it asked for pauses of {self._paused_s:,.0f} s (Retry-After)")
        if self._held_s >= 1:
            said.append(f"for {self._held_s:,.0f} s nobody could be read")
        return (f"slower than configured: {'; '.join(said)}",) if said else ()

    def _time_of(self, at_s: float) -> datetime:
        return instant_after(self._runtime.now(), at_s - self._runtime.monotonic())

    async def _changed(self) -> None:
        self._change = self._change or anyio.Event()
        await self._change.wait()

    def _notify(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None
