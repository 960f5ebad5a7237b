"""Adapts the rate and the concurrency of requests to what PTS sustains.

The decisions are pure; times are monotonic seconds, passed in:

- ``RatePace``: requests per second. Between two refusals a server accepts exactly what it sustains.
  The rate is set a little below that, and grows slowly.
- ``ConcurrencyPace``: concurrent requests. Halved at a push-back (AIMD: Chiu and Jain, 1989), and
  reduced when responses take much longer than usual.

``docs/politeness.md`` shows the combined behaviour and the reasons for the constants.
"""

import enum
import math
from dataclasses import dataclass, field
from typing import Final

RATE_MIN: Final = 1.0
"""Minimum requests per second after refusals. A ``Retry-After`` or a lower ceiling can go below."""
SUSTAINED_MARGIN: Final = 0.95
"""New rate after a refusal, as a share of the measured accepted rate."""
SUSTAINED_SAMPLE: Final = 20
"""Minimum responses between two refusals to measure the accepted rate."""
CUT_MAX: Final = 0.5
"""Factor of a cut of rate or concurrency without a measurement."""
RETURN_PER_ANSWER: Final = 0.10
RETURN_PER_S: Final = 0.20
"""Maximum growth per response and per second while recovering from a cut that was too deep."""
CREEP_PER_ANSWER: Final = 2e-4
CREEP_ANSWERS: Final = 100
CREEP_PER_S: Final = 2e-3
CREEP_S: Final = 30.0
"""Growth after that: 0.02 % per response and 0.2 % per second, twice as much after 100 responses
and 30 s, and so on."""
OVERSHOOT_MAX: Final = 0.7
"""Lower bound of a measurement as a share of the rate: after a long growth the average accepted
rate is far below the limit."""
PROVEN_ANSWERS: Final = 30
"""Responses in a row without a refusal that prove a rate."""
PROVEN_FOR: Final = 20
"""Number of later refusals for which a proven rate stays valid."""
UNRELATED_BELOW: Final = 0.7
UNRELATED_SHARE: Final = 0.25
"""Refusals have other causes than the load if the rate is below the first share of a proven rate,
and fewer than the second share of requests are refused."""
SHARE_WEIGHT: Final = 0.05
"""Weight of one response in the share of refusals."""
USED_SHARE: Final = 0.8
"""A rate grows only if at least this share of it is used."""

SLOW_FACTOR: Final = 3.0
SLOW_MORE_S: Final = 0.5
"""Responses are slow if they take this many times as long as usual, and this many seconds more."""
SLOW_CUT: Final = 0.7
"""Factor of a cut of the concurrency when responses are slow."""
RECENT_WEIGHT: Final = 0.1
USUAL_WEIGHT: Final = 0.002
"""Weight of one response in the recent and in the usual latency."""

_UNMEASURED_RATE: Final = 1000.0
_MEASURE_S_MIN: Final = 0.1
_MARK_S: Final = 1.0
_MARK_SENT: Final = 10
_REFUSALS: Final = frozenset({429, 503})
_LOAD: Final = frozenset({408, 502, 504})


class Pressure(enum.Enum):
    """What a failed attempt says about the load."""

    NONE = enum.auto()
    """Nothing: the request itself fails, as with 500."""
    LOAD = enum.auto()
    """No response, or not in time: reduce the concurrency."""
    REFUSAL = enum.auto()
    """429 and 503: reduce concurrency and rate."""


def pressure_of(status: int | None) -> Pressure:
    """The pressure of a transient status; ``None``: no response."""
    if status in _REFUSALS:
        return Pressure.REFUSAL
    return Pressure.LOAD if status is None or status in _LOAD else Pressure.NONE


@dataclass(slots=True)
class SendMeter:
    """Measures the requests sent per second, over at least a second or ten requests.

    Attributes:
        due_s: when to call ``mark`` next.
    """

    due_s: float = -math.inf
    _older: tuple[float, int] | None = None
    _newer: tuple[float, int] = (0.0, 0)

    def mark(self, now_s: float, sent: int) -> None:
        """Record the number of requests sent so far, including this one."""
        if self._older is None:
            self._older = self._newer = (now_s, sent - 1)
        elif sent - self._newer[1] >= _MARK_SENT:
            self._older, self._newer = self._newer, (now_s, sent)
        self.due_s = self._newer[0] + _MARK_S

    def restart(self, now_s: float, sent: int) -> None:
        """Restart the measurement, for example at the end of a pause."""
        self._older = self._newer = (now_s, sent)
        self.due_s = now_s + _MARK_S

    def per_second(self, now_s: float, sent: int) -> float:
        """Requests per second; infinity if unknown."""
        if self._older is None:
            return math.inf
        count, passed_s = sent - self._older[1], now_s - self._older[0]
        if passed_s < _MEASURE_S_MIN and count < _MARK_SENT:
            return math.inf
        return count / max(passed_s, _MEASURE_S_MIN)


@dataclass(slots=True)
class RatePace:
    """Requests per second, up to a ceiling.

    Attributes:
        ceiling: maximum rate; may be infinite.
    """

    ceiling: float
    rate: float = field(init=False)
    _goal: float = 0.0
    _since_s: float | None = None
    _grown_s: float = 0.0
    _accepted: int = 0
    _clean: int = 0
    _share: float = 0.0
    _proven: float = 0.0
    _proven_age: int = 0
    _before_cuts: float = 0.0

    def __post_init__(self) -> None:
        self.rate = self.ceiling

    @property
    def is_free(self) -> bool:
        """Whether nothing was ever refused, so that successes need no accounting."""
        return self._since_s is None

    def refused(
        self, now_s: float, sent_per_s: float, resume_s: float, *, is_recent: bool = True
    ) -> None:
        """Record a refusal, and cut the rate.

        Args:
            sent_per_s: the measured send rate.
            resume_s: when sending resumes; later than now after a ``Retry-After``.
            is_recent: the request was sent after the last cut, at the current rate.
        """
        self._share += SHARE_WEIGHT * (1 - self._share)
        self._clean = 0
        self._proven_age += 1
        if not is_recent:
            return
        base = min(self.rate, sent_per_s)
        if self._is_unrelated(base):
            self._goal = self._proven
            return
        if math.isinf(base):
            base = _UNMEASURED_RATE
        target = self._target(base, now_s)
        if target is None:
            # Nothing was accepted: cut further, but keep the recovery goal.
            target = CUT_MAX * base
        else:
            self._goal = SUSTAINED_MARGIN * (target + base) / 2
        self._before_cuts = max(self._before_cuts, self.rate)
        self.rate = min(self.ceiling, max(RATE_MIN, target))
        if self._share >= UNRELATED_SHARE:
            self._proven = 0.0
        self._accepted = 0
        self._since_s = self._grown_s = resume_s

    def _target(self, base: float, now_s: float) -> float | None:
        accepted, since_s = self._accepted, self._since_s
        if since_s is None:
            return CUT_MAX * base
        if accepted >= SUSTAINED_SAMPLE and now_s > since_s:
            sustained = min(base, accepted / (now_s - since_s))
            return max(SUSTAINED_MARGIN * sustained, OVERSHOOT_MAX * base)
        if accepted:
            return base * max(CUT_MAX, SUSTAINED_MARGIN * accepted / (accepted + 1))
        return None

    def _is_unrelated(self, base: float) -> bool:
        """Whether a much higher rate had no refusals recently, and few requests are refused."""
        return (
            base <= UNRELATED_BELOW * self._proven
            and self._proven_age < PROVEN_FOR
            and self._share < UNRELATED_SHARE
        )

    def confirm_cut(self, rate: float) -> None:
        """Confirm that load caused a cut to this rate; ``take_back_cuts`` keeps to it."""
        self._before_cuts = min(self._before_cuts, rate)

    def take_back_cuts(self) -> None:
        """Revert cuts that were not confirmed, because load did not cause them."""
        self.rate = min(self.ceiling, max(self.rate, self._before_cuts))
        self._before_cuts = 0.0

    def accepted(self, now_s: float, sent_per_s: float) -> None:
        """Record a successful response, and grow the rate."""
        self._accepted += 1
        if self._since_s is None:
            return
        self._prove(min(self.rate, sent_per_s))
        passed_s = now_s - self._grown_s
        self._grown_s = max(self._grown_s, now_s)
        if sent_per_s < USED_SHARE * self.rate or passed_s < 0 or self.rate >= self.ceiling:
            return
        if self.rate < self._goal:
            growth = min(RETURN_PER_ANSWER, RETURN_PER_S * passed_s)
            self.rate = min(self._goal, self.rate * (1 + growth))
        else:
            per_answer = CREEP_PER_ANSWER * (1 + self._accepted / CREEP_ANSWERS)
            per_s = CREEP_PER_S * (1 + (now_s - self._since_s) / CREEP_S)
            self.rate *= 1 + min(per_answer, per_s * passed_s)
        self.rate = min(self.rate, self.ceiling)

    def _prove(self, rate: float) -> None:
        self._share -= SHARE_WEIGHT * self._share
        self._clean += 1
        is_proof = rate >= self._proven or self._proven_age >= PROVEN_FOR
        if self._clean >= PROVEN_ANSWERS and is_proof:
            self._proven = rate
            self._proven_age = 0


@dataclass(slots=True)
class ConcurrencyPace:
    """The limit on concurrent requests, from 1 to a ceiling.

    Attributes:
        ceiling: maximum limit; may be infinite.
        usual_s, recent_s: long-term and recent latency.
    """

    ceiling: float
    limit: float = field(init=False)
    usual_s: float = 0.0
    recent_s: float = 0.0
    _successes: int = 0
    _before_cuts: float = 0.0

    def __post_init__(self) -> None:
        self.limit = self.ceiling

    @property
    def is_free(self) -> bool:
        """Whether the limit is at the ceiling."""
        return self.limit >= self.ceiling

    @property
    def is_slow(self) -> bool:
        """Whether recent responses take much longer than usual."""
        return (
            self.recent_s > SLOW_FACTOR * self.usual_s
            and self.recent_s > self.usual_s + SLOW_MORE_S
        )

    def cut(self, in_flight: int, share: float = CUT_MAX) -> None:
        """Lower the limit, relative to the requests in flight if these are fewer."""
        self._before_cuts = max(self._before_cuts, self.limit)
        self.limit = max(1.0, share * min(self.limit, float(in_flight)) // 1)
        self._successes = 0

    def restart(self) -> None:
        """Restart with one request at a time after an outage."""
        self._before_cuts = max(self._before_cuts, self.limit)
        self.limit = 1.0

    def confirm_cut(self, limit: float) -> None:
        """As ``RatePace.confirm_cut``."""
        self._before_cuts = min(self._before_cuts, limit)

    def take_back_cuts(self) -> None:
        """As ``RatePace.take_back_cuts``."""
        self.limit = min(self.ceiling, max(self.limit, self._before_cuts))
        self._before_cuts = 0.0

    def answered(self, latency_s: float) -> None:
        """Record the latency of a response."""
        if not self.usual_s:
            self.usual_s = self.recent_s = latency_s
            return
        self.recent_s += RECENT_WEIGHT * (latency_s - self.recent_s)
        self.usual_s += USUAL_WEIGHT * (latency_s - self.usual_s)
        if 2 * self.recent_s < self.usual_s:
            self.usual_s = self.recent_s  # adapt at once to a server that recovered

    def grow(self, in_flight: int) -> None:
        """Raise the limit by one after two rounds of successes, if the limit is used."""
        if self.is_slow or 2 * in_flight < self.limit:
            return
        self._successes += 1
        if self._successes >= 2 * self.limit:
            self._successes = 0
            self.limit = min(self.ceiling, self.limit + 1)
