"""The pace of requests to PTS: when the next one may be sent, and which answers change that.

``docs/architecture.md`` says it in words.
"""

import asyncio
import math
from collections import deque
from datetime import datetime
from typing import Final, NamedTuple

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


class _Told(NamedTuple):
    """What an answer said of somebody: until when to wait, or which request was refused."""

    who: str
    what: float


class Pace:
    """Lets requests go, one by one (promise 7). Call ``leave`` once after every ``enter``.

    It is a token bucket and a limit on requests under way, or the share of both that PTS sustains.

    Args:
        requests_per_second: the ceiling; may be infinite.
        concurrency: the ceiling on requests under way.
    """

    def __init__(
        self, requests_per_second: float, runtime: Runtime, *, concurrency: int = 1_000
    ) -> None:
        if not requests_per_second > 0:
            raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
        self._ceiling = requests_per_second
        self._concurrency = concurrency
        self._runtime = runtime
        self._share = self._least = 1.0
        self._in_flight = self._sent = self._sent_at_cut = 0
        self._sent_s = self._next_s = self._paused_until_s = -math.inf
        self._clean_since_s = self._paused_s = self._held_s = self._held_since_s = 0.0
        self._spacing_s = 0.0
        self._waits: deque[_Told] = deque(maxlen=OF_WAITS)
        self._refusals: deque[_Told] = deque(maxlen=OF_REFUSALS)
        # anyio's asks each time which task it is in: 5 % of a night's processor time.
        self._turns, self._next, self._probes = (asyncio.Lock() for _ in range(3))
        self._change: anyio.Event | None = None

    @property
    def rate(self) -> float:
        """Requests per second at present, at most."""
        return self._share * self._ceiling

    @property
    def limit(self) -> int:
        """Requests that may be under way at present."""
        return max(1, int(self._share * self._concurrency))

    @property
    def is_held(self) -> bool:
        """Whether only probes are sent."""
        return self._spacing_s > 0

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
                if self._in_flight >= self.limit or (self.is_held and not is_probe):
                    await self._changed()
                elif (due_s := self._due_s(is_next=is_next)) > now_s:
                    await self._runtime.sleep(due_s - now_s)
                else:
                    return self._send(now_s)

    def _due_s(self, *, is_next: bool) -> float:
        """When a request may be sent, in monotonic seconds."""
        if not self.is_held:
            next_s = self._next_s - max(0.0, _BURST_S - 1.0 / self.rate)
        else:
            next_s = -math.inf if is_next else self._sent_s + self._spacing_s
        return max(next_s, self._paused_until_s)

    def _send(self, now_s: float) -> int:
        self._in_flight += 1
        self._sent += 1
        self._sent_s = now_s
        self._next_s = max(self._next_s, now_s) + 1.0 / self.rate
        return self._sent

    def leave(self, *, is_unused: bool = False) -> None:
        """End an attempt, whatever its outcome.

        Args:
            is_unused: give the turn back.
        """
        self._in_flight -= 1
        if is_unused:
            self._next_s -= 1.0 / self.rate
        self._notify()

    def answered(self, number: int, who: str, *, status: int, retry_after_s: float = 0.0) -> None:
        """Record an answer, and slow down or pause if it and the last ones say so of everybody.

        Args:
            number: what ``enter`` returned.
            who: the person.
            retry_after_s: how long PTS asks to wait, if the run would wait so long.
        """
        now_s = self._runtime.monotonic()
        self._waits.append(_Told(who, now_s + retry_after_s if retry_after_s else -math.inf))
        if retry_after_s:
            self._pause(now_s, f"status {status}, Retry-After")
        if status in _REFUSALS:
            self._slow_down(_Told(who, number), now_s, f"status {status}")
        elif now_s - self._clean_since_s >= CLEAN_S:
            self._share, self._clean_since_s = min(1.0, self._share * STEP), now_s

    def _pause(self, now_s: float, reason: str) -> None:
        asked = [wait for wait in self._waits if wait.what > -math.inf]
        until_s = max(wait.what for wait in asked)
        more_s = until_s - max(now_s, self._paused_until_s)
        if len({wait.who for wait in asked}) < MANY or more_s <= 0:
            return
        self._paused_until_s = until_s
        self._paused_s += more_s
        if more_s > _PAUSE_LOGGED_S:
            until = self._time_of(until_s).isoformat(timespec="seconds")
            _log.info("pts.pause", reason=reason, until=until)

    def _slow_down(self, refusal: _Told, now_s: float, reason: str) -> None:
        # Who is refused again says nothing new: it may be for ever.
        if any(refusal.who == before.who for before in self._refusals):
            return
        self._refusals.append(refusal)
        # What was under way at the last cut says nothing of the pace since.
        since = max(self._sent_at_cut, self._sent - OF_REFUSALS)
        if sum(before.what > since for before in self._refusals) < MANY:
            return
        self._share = max(CUT * self._share, min(1.0, RATE_MIN / self._ceiling))
        self._least = min(self._least, self._share)
        self._sent_at_cut, self._clean_since_s = self._sent, now_s
        rate = round(self.rate, 1)
        _log.info("pts.slower", requests_per_second=rate, concurrency=self.limit, reason=reason)

    def hold(self, spacing_s: float) -> None:
        """Send only probes from now on, one in so many seconds."""
        self._spacing_s, self._held_since_s = spacing_s, self._runtime.monotonic()

    def release(self) -> None:
        """Send everything again."""
        if self.is_held:
            self._spacing_s = 0.0
            self._held_s += self._runtime.monotonic() - self._held_since_s
            self._notify()

    async def drained(self) -> None:
        """Wait until no request is under way."""
        while self._in_flight:
            await self._changed()

    def slowness(self) -> str:
        """Why requests wait, or are sent more slowly than configured; empty if neither."""
        if self._paused_until_s > self._runtime.monotonic():
            until = self._time_of(self._paused_until_s)
            return f"PTS asked for a pause: waiting until {until:%H:%M:%S} UTC"
        if self.is_held:
            return "PTS or HelseID answers nobody: asking one request at a time"
        if self._share < 1:
            return f"PTS refused requests: at most {self.rate:,.1f} requests/s"
        return ""

    def slowed_by(self) -> tuple[str, ...]:
        """Why this run was slower than configured, for its summary; nothing if it was not."""
        said = []
        if self._least < 1:
            rate = self._least * self._ceiling
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
