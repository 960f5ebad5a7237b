"""The pace of requests to PTS: when the next one may be sent, and what answers change in that.

Pure; times are monotonic seconds, passed in. ``docs/architecture.md`` says it in words.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

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


class _Wait(NamedTuple):
    who: str
    until_s: float


class _Refusal(NamedTuple):
    who: str
    number: int


@dataclass(slots=True)
class Pace:
    """A token bucket and a limit on requests under way, and their share that PTS sustains.

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
    _waits: deque[_Wait] = field(default_factory=lambda: deque(maxlen=OF_WAITS))
    _refusals: deque[_Refusal] = field(default_factory=lambda: deque(maxlen=OF_REFUSALS))

    @property
    def rate(self) -> float:
        """Requests per second at present."""
        return self.share * self.requests_per_second

    @property
    def limit(self) -> int:
        """Requests that may be under way at present."""
        return max(1, int(self.share * self.concurrency))

    def wait_s(self, now_s: float) -> float:
        """Seconds until a request may be sent; none if not positive."""
        if self.held_s:
            next_s = self._sent_s + self.held_s
        else:
            next_s = self._next_s - max(0.0, _BURST_S - 1.0 / self.rate)
        return max(next_s, self.paused_until_s) - now_s

    def send(self, now_s: float) -> int:
        """Record that a request is sent; return its number."""
        self._sent_s = now_s
        self._next_s = max(self._next_s, now_s) + 1.0 / self.rate
        self._sent += 1
        return self._sent

    def answered(
        self,
        number: int,
        who: str,
        now_s: float,
        *,
        status: int,
        retry_after_s: float = 0.0,
    ) -> None:
        """Record an answer, and slow down or pause if it and the last ones say so of everybody.

        Args:
            number: what ``send`` returned.
            who: the person.
            retry_after_s: how long PTS asks to wait, if the run would wait so long.
        """
        is_refusal = status in _REFUSALS
        self._waits.append(_Wait(who, now_s + retry_after_s if retry_after_s else -math.inf))
        if not is_refusal and now_s - self._clean_since_s >= CLEAN_S:
            self.share, self._clean_since_s = min(1.0, self.share * STEP), now_s
        asked = [one for one in self._waits if one.until_s > -math.inf]
        if retry_after_s and len({one.who for one in asked}) >= MANY:
            self.paused_until_s = max(one.until_s for one in asked)
        # Who is refused again says nothing new: it may be for ever.
        if is_refusal and who not in {one.who for one in self._refusals}:
            self._refusals.append(_Refusal(who, number))
            self._cut(now_s)

    def _cut(self, now_s: float) -> None:
        # What was under way at the last cut says nothing of the pace since.
        since = max(self._sent_at_cut, self._sent - OF_REFUSALS)
        if sum(refusal.number > since for refusal in self._refusals) >= MANY:
            floor = min(1.0, RATE_MIN / self.requests_per_second)
            self.share = max(CUT * self.share, floor)
            self.least = min(self.least, self.share)
            self._sent_at_cut, self._clean_since_s = self._sent, now_s
