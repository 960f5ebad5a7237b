"""Rate limit for requests to PTS: a token bucket, and the pauses that PTS asks for."""

import math
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import anyio
import structlog

from worker.core.retry import instant_after
from worker.ports import Runtime

CLEAN_S: Final = 30.0
"""429 and 503 halve the rate. After 30 seconds without a change, the rate rises by half."""
PERSONS_MIN: Final = 3
"""Minimum number of different persons. Fewer may be refused for reasons of their own."""
WAITS_WINDOW: Final = 10
REFUSALS_WINDOW: Final = 30
"""How many of the latest responses count. Three refusals in thirty indicate a rate limit of PTS
slightly below the ceiling. The rate is halved at most once in thirty responses."""
_BURST_S: Final = 0.02
"""Size of a burst, as the requests of this time, because timers are coarser than a high rate. The
rest of the 5 % above the ceiling (promise 7) is left for delays on the way to PTS."""
_REFUSALS: Final = frozenset({429, 503})

_log = structlog.get_logger(__name__)


class _Response(NamedTuple):
    """The part of a response that affects the rate.

    Attributes:
        is_refused: whether PTS refused the request because of its load.
        until_s: end of the wait that PTS asked for. Minus infinity if there is none to obey.
    """

    person_key: str
    is_refused: bool
    until_s: float


class Pace:
    """Sends requests one by one, at the rate that PTS sustains (promise 7).

    Args:
        requests_per_second: the ceiling. May be infinite.
        wait_s_max: `sync.retry_after_max`. The longest pause of all requests, whether PTS asks for
            it once or in several responses without a success in between.

    Attributes:
        rate: current maximum of requests per second.
        turn: a lock that queues requests. Its holder sends the next one.
        last_sent_s: when the last request was sent, on the monotonic clock.
    """

    def __init__(
        self, requests_per_second: float, runtime: Runtime, *, wait_s_max: float = math.inf
    ) -> None:
        if not requests_per_second > 0:
            raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
        self.rate = self._ceiling = self._lowest_rate = requests_per_second
        self._wait_s_max = wait_s_max
        self._runtime = runtime
        self.turn = anyio.Lock(fast_acquire=True)
        self.last_sent_s = -math.inf
        self._next_s = self._paused_until_s = self._changed_s = -math.inf
        self._waiting_since_s = math.inf
        self._paused_s = 0.0
        self._responses: deque[_Response] = deque(maxlen=REFUSALS_WINDOW)
        self._responses_since_halving = REFUSALS_WINDOW

    async def wait(self) -> None:
        """Wait until the next request may be sent. The caller has locked ``turn``."""
        while (wait_s := self._earliest_s() - self._runtime.monotonic()) > 0:
            await self._runtime.sleep(wait_s)

    def _earliest_s(self) -> float:
        interval_s = 1.0 / self.rate
        # At a low rate there is no burst: two requests in a row would exceed the ceiling.
        early_s = max(0.0, _BURST_S - interval_s)
        return max(self._paused_until_s, self._next_s - early_s)

    def sent(self) -> None:
        """Take a token for a request that is sent now."""
        self.last_sent_s = self._runtime.monotonic()
        self._next_s = max(self.last_sent_s, self._next_s) + 1.0 / self.rate

    def answered(
        self, person_key: str, *, status: int, retry_after_s: float = 0.0, is_retry: bool = False
    ) -> None:
        """Slow down or pause, if the latest responses for several persons ask for it.

        Args:
            is_retry: a retry does not lower the rate. Otherwise the retries for a few persons
                would slow down the whole run.
        """
        now_s = self._runtime.monotonic()
        is_refused = status in _REFUSALS and not is_retry
        until_s = self._add_wait(now_s, retry_after_s)
        self._responses.append(_Response(person_key, is_refused, until_s))
        self._responses_since_halving += 1
        if until_s > -math.inf:
            self._pause(now_s)
        if is_refused:
            self._slow_down(now_s)
        # The rate rises more slowly than it falls, so it settles near the rate that PTS accepts.
        elif self.rate < self._ceiling and now_s - self._changed_s >= CLEAN_S:
            self.rate, self._changed_s = min(self._ceiling, 1.5 * self.rate), now_s

    def _add_wait(self, now_s: float, retry_after_s: float) -> float:
        """Add a wait to those before it. Returns its end, or minus infinity if it is not obeyed."""
        if not retry_after_s:
            self._waiting_since_s = math.inf
            return -math.inf
        # Waits add up until a response has none. Otherwise short ones could pause a run forever.
        self._waiting_since_s = min(self._waiting_since_s, now_s)
        until_s = now_s + retry_after_s
        is_short_enough = until_s - self._waiting_since_s <= self._wait_s_max
        return until_s if is_short_enough else -math.inf

    def _pause(self, now_s: float) -> None:
        """Pause all requests, if the latest responses for several persons ask for a wait."""
        latest = tuple(self._responses)[-WAITS_WINDOW:]
        # A wait for one person must not delay the others.
        waits = [response for response in latest if response.until_s > -math.inf]
        if _count_persons(waits) < PERSONS_MIN:
            return
        until_s = max(response.until_s for response in waits)
        added_s = until_s - max(now_s, self._paused_until_s)
        # A shorter wait does not end a pause.
        if added_s <= 0:
            return
        if self._paused_until_s <= now_s:
            _log.info("pts.pause", until=self._time_of(until_s).isoformat(timespec="seconds"))
        self._paused_until_s = until_s
        self._paused_s += added_s

    def _slow_down(self, now_s: float) -> None:
        """Halve the rate, if PTS refused several persons since the last time."""
        refusals = [response for response in self._responses if response.is_refused]
        # Earlier refusals are no evidence about the current rate. Without a full window of new
        # responses, two seconds of 503 would end at the minimum rate.
        is_new_window = self._responses_since_halving >= REFUSALS_WINDOW
        if not is_new_window or _count_persons(refusals) < PERSONS_MIN:
            return
        self._responses_since_halving = 0
        # At one request per second, 20,000 requests still finish overnight.
        before, self.rate = self.rate, max(self.rate / 2, min(1.0, self._ceiling))
        self._lowest_rate, self._changed_s = min(self._lowest_rate, self.rate), now_s
        if self.rate < before:
            _log.info("pts.slower", requests_per_second=round(self.rate, 1))

    def restore(self) -> None:
        """Return to the ceiling after an outage: its 503 responses were not a rate limit."""
        self.rate, self._changed_s = self._ceiling, self._runtime.monotonic()

    def paused_s(self) -> float:
        """Total pause so far, in seconds."""
        return self._paused_s - max(0.0, self._paused_until_s - self._runtime.monotonic())

    @property
    def is_paused(self) -> bool:
        """Whether all requests wait because PTS asked for a pause."""
        return self._paused_until_s > self._runtime.monotonic()

    def slowness(self) -> str:
        """Why requests wait, or are sent more slowly than configured. Empty if neither."""
        if self.is_paused:
            until = self._time_of(self._paused_until_s)
            return f"PTS asked for a pause: waiting until {until:%H:%M:%S} UTC"
        if self.rate < self._ceiling:
            return f"PTS refused requests: at most {self.rate:,.1f} requests/s"
        return ""

    def slowed_by(self) -> tuple[str, ...]:
        """Why this run was slower than configured, for its summary. Empty if it was not."""
        reasons = []
        if self._lowest_rate < self._ceiling:
            reasons.append(
                f"PTS refused requests (429 or 503), down to {self._lowest_rate:,.1f} requests/s"
            )
        if self._paused_s >= 1:
            reasons.append(
                f"PTS asked for pauses of {self._paused_s:,.0f} s in total (Retry-After)"
            )
        return tuple(reasons)

    def _time_of(self, at_s: float) -> datetime:
        return instant_after(self._runtime.now(), at_s - self._runtime.monotonic())


def _count_persons(responses: Iterable[_Response]) -> int:
    # One person's areas and pages may all be refused for one reason.
    return len({response.person_key for response in responses})
