"""Decides whether push-backs come from the load or from the persons that are requested."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

FIRST_WEIGHT: Final = 0.02
"""Weight of one request in the share of first attempts that are pushed back."""
FIRST_MIN: Final = 0.02
"""Lower bound of that share when computing odds."""
PERSONAL_FIRST: Final = 0.25
"""Push-backs can depend on the person only below this share of first attempts."""
PERSONAL_ODDS: Final = 7.0
PERSONAL_ODDS_MAX: Final = 10.0
"""Log odds at which push-backs count as personal, and their maximum (natural logarithm)."""
ANSWERED_ODDS: Final = 5.0
"""What a successful retry subtracts from the log odds; their minimum is the negative of it."""


@dataclass(slots=True)
class Repeats:
    """Statistics that show whether push-backs depend on the person or on the load.

    Under load, a retry is as likely to succeed as any other request. A request that is pushed back
    repeatedly while others succeed says nothing about the load.

    Attributes:
        first: recent share of first attempts that were pushed back; 0.5 if unknown.
        odds: log likelihood ratio of the retries' outcomes: personal push-backs against load.
    """

    first: float = 0.5
    odds: float = 0.0
    _count: int = 1

    @property
    def are_personal(self) -> bool:
        """Whether few requests are pushed back, and nearly always the same ones."""
        return self.odds >= PERSONAL_ODDS and self.first < PERSONAL_FIRST

    def first_attempt(self, *, is_pushed_back: bool) -> None:
        """Record the outcome of a first attempt."""
        self._count += 1
        self.first += max(FIRST_WEIGHT, 1 / self._count) * (is_pushed_back - self.first)

    def repeated(self, *, is_pushed_back: bool) -> None:
        """Record the outcome of a retry after a push-back, with other successes in between."""
        change = -math.log(max(FIRST_MIN, self.first)) if is_pushed_back else -ANSWERED_ODDS
        self.odds = min(PERSONAL_ODDS_MAX, max(-ANSWERED_ODDS, self.odds + change))

    def proved(self) -> None:
        """Record a successful probe while all other requests failed: push-backs are personal."""
        self.first, self.odds = 0.0, PERSONAL_ODDS_MAX


class PushBack(NamedTuple):
    """The state of a request that was pushed back, for its retry.

    Attributes:
        answered: number of successful requests at that time.
        rate, limit: rate and concurrency limit after the cut that it may have caused.
        has_paused_all: it has already paused all requests.
        alone_s: total ``Retry-After`` that concerned only this request.
    """

    answered: int
    rate: float
    limit: float
    has_paused_all: bool = False
    alone_s: float = 0.0
