"""How fast, how many at once, and when not at all: what PTS's answers teach about PTS.

Decisions without a clock of their own; times are monotonic seconds, handed in:

- ``RatePace``: requests per second. Between two refusals a server has accepted just what it
  sustains, whatever it had saved up before; the rate goes a little below that, and creeps up.
- ``ConcurrencyPace``: requests under way. Halved at a push-back (AIMD: Chiu and Jain, 1989), fewer
  too when answers take far longer than usual.
- ``Circuit``: after many failures in a row only single requests try, and then none.
- ``Repeats``: whether push-backs come from load at all, or from the persons who are asked for.

`docs/politeness.md` shows what they do together, and why the constants are what they are.
"""

import enum
import math
from dataclasses import dataclass, field
from typing import Final

RATE_MIN: Final = 1.0
"""Requests per second below which no refusal leads; ``Retry-After`` may, and a lower ceiling."""
SUSTAINED_MARGIN: Final = 0.95
"""Share of what the server accepted that is asked for after a refusal."""
SUSTAINED_SAMPLE: Final = 20
"""Answers between two refusals that make what was accepted a measurement."""
CUT_MAX: Final = 0.5
"""What is left of rate or concurrency after a cut that knows no better."""
RETURN_PER_ANSWER: Final = 0.10
RETURN_PER_S: Final = 0.20
"""The way back from a cut that was too deep, at most so much for each answer and each second."""
CREEP_PER_ANSWER: Final = 2e-4
CREEP_ANSWERS: Final = 100
CREEP_PER_S: Final = 2e-3
CREEP_S: Final = 30.0
"""Beyond that: 0.02 % an answer and 0.2 % a second, twice as much after 100 answers and 30 s, …"""
OVERSHOOT_MAX: Final = 0.7
"""A measurement below this share of the rate is of a time when the rate was far from its end."""
PROVEN_ANSWERS: Final = 30
"""Answers without a refusal that prove a rate, for …"""
PROVEN_FOR: Final = 20
"""… so many refusals."""
UNRELATED_BELOW: Final = 0.7
UNRELATED_SHARE: Final = 0.25
"""Refusals below this share of a proven rate, and rarer than that, have other reasons than us."""
SHARE_WEIGHT: Final = 0.05
"""Weight of one answer in the share of refusals."""
USED_SHARE: Final = 0.8
"""A rate that is not used so far teaches nothing and does not grow."""

SLOW_FACTOR: Final = 3.0
SLOW_MORE_S: Final = 0.5
"""Answers are slow if they take so many times the usual, and so many seconds more."""
SLOW_CUT: Final = 0.7
"""What is left of the concurrency when answers are slow."""
RECENT_WEIGHT: Final = 0.1
USUAL_WEIGHT: Final = 0.002
"""Weight of one answer in what is recent and in what is usual."""

_UNMEASURED_RATE: Final = 1000.0
_MEASURE_S_MIN: Final = 0.1
_MARK_S: Final = 1.0
_MARK_SENT: Final = 10
_REFUSALS: Final = frozenset({429, 503})
_LOAD: Final = frozenset({408, 502, 504})


class Pressure(enum.Enum):
    """What a failed attempt says about the load that we are."""

    NONE = enum.auto()
    """Nothing: the request itself fails, such as with 500."""
    LOAD = enum.auto()
    """No answer, or none in time: fewer at once."""
    REFUSAL = enum.auto()
    """429 and 503: fewer at once, and fewer a second."""


def pressure_of(status: int | None) -> Pressure:
    """What a transient status says; ``None``: there was no answer."""
    if status in _REFUSALS:
        return Pressure.REFUSAL
    return Pressure.LOAD if status is None or status in _LOAD else Pressure.NONE


@dataclass(slots=True)
class SendMeter:
    """How many requests a second were sent lately, over a second or ten requests at least.

    Attributes:
        due_s: when the next mark is due; ask no sooner.
    """

    due_s: float = -math.inf
    _older: tuple[float, int] | None = None
    _newer: tuple[float, int] = (0.0, 0)

    def mark(self, now_s: float, sent: int) -> None:
        """Remember how many were sent until now, this one included."""
        if self._older is None:
            self._older = self._newer = (now_s, sent - 1)
        elif sent - self._newer[1] >= _MARK_SENT:
            self._older, self._newer = self._newer, (now_s, sent)
        self.due_s = self._newer[0] + _MARK_S

    def restart(self, now_s: float, sent: int) -> None:
        """Begin anew from a moment, such as the end of a pause."""
        self._older = self._newer = (now_s, sent)
        self.due_s = now_s + _MARK_S

    def per_second(self, now_s: float, sent: int) -> float:
        """Requests a second; infinity if nothing is known."""
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
        ceiling: what it never exceeds; may be infinite.
        rate: what it is now.
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
        """Whether nothing was ever refused: there is nothing to learn from a success."""
        return self._since_s is None

    def set_ceiling(self, ceiling: float) -> None:
        """Change the ceiling; what was learnt below it stands."""
        self.rate = ceiling if self.rate >= self.ceiling else min(self.rate, ceiling)
        self.ceiling = ceiling

    def refused(
        self, now_s: float, sent_per_s: float, resume_s: float, *, is_recent: bool = True
    ) -> None:
        """A request was refused.

        Args:
            now_s: the time.
            sent_per_s: what was really sent lately.
            resume_s: when sending goes on; later than now if ``Retry-After`` was given.
            is_recent: it was sent after the last cut, and so at the present rate.
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
            # Nothing came through: this says how bad it is, not where to return to.
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
        """Whether a far higher rate was free of refusals a short while ago, and few are refused."""
        return (
            base <= UNRELATED_BELOW * self._proven
            and self._proven_age < PROVEN_FOR
            and self._share < UNRELATED_SHARE
        )

    def confirm_cut(self, rate: float) -> None:
        """A cut to that rate was right: load was its reason. No take-back goes beyond."""
        self._before_cuts = min(self._before_cuts, rate)

    def take_back_cuts(self) -> None:
        """Cuts that were not confirmed had another reason than load."""
        self.rate = min(self.ceiling, max(self.rate, self._before_cuts))
        self._before_cuts = 0.0

    def accepted(self, now_s: float, sent_per_s: float) -> None:
        """A request was answered as it should."""
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
    """Requests under way at once, from 1 up to a ceiling.

    Attributes:
        ceiling: what it never exceeds; may be infinite.
        limit: what it is now, a whole number.
        usual_s, recent_s: how long answers take in the long run, and lately.
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
        """Whether nothing but the ceiling holds it."""
        return self.limit >= self.ceiling

    @property
    def is_slow(self) -> bool:
        """Whether answers lately take far longer than usual."""
        return (
            self.recent_s > SLOW_FACTOR * self.usual_s
            and self.recent_s > self.usual_s + SLOW_MORE_S
        )

    def cut(self, in_flight: int, share: float = CUT_MAX) -> None:
        """Lower the limit, from what was under way rather than from what might have been."""
        self._before_cuts = max(self._before_cuts, self.limit)
        self.limit = max(1.0, share * min(self.limit, float(in_flight)) // 1)
        self._successes = 0

    def restart(self) -> None:
        """One at a time at first, after a time in which nothing was answered."""
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
        """Learn how long an answer took."""
        if not self.usual_s:
            self.usual_s = self.recent_s = latency_s
            return
        self.recent_s += RECENT_WEIGHT * (latency_s - self.recent_s)
        self.usual_s += USUAL_WEIGHT * (latency_s - self.usual_s)
        if 2 * self.recent_s < self.usual_s:
            self.usual_s = self.recent_s  # a server that got well is believed at once

    def grow(self, in_flight: int) -> None:
        """One more after two rounds of successes, as long as the limit is used."""
        if self.is_slow or 2 * in_flight < self.limit:
            return
        self._successes += 1
        if self._successes >= 2 * self.limit:
            self._successes = 0
            self.limit = min(self.ceiling, self.limit + 1)
