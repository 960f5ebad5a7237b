"""Decides whether push-backs come from the load or from the persons that are requested."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

FIRST_WEIGHT: Final = 0.02
"""Weight of one request in the share of first attempts that are pushed back."""
FIRST_MIN: Final = 0.02
"""It is taken for no less when odds are reckoned from it."""
PERSONAL_FIRST: Final = 0.25
"""Push-backs may depend on the person if they are fewer than this share of first attempts …"""
PERSONAL_ODDS: Final = 7.0
PERSONAL_ODDS_MAX: Final = 10.0
"""… and the odds are so many to one, as natural logarithms."""
ANSWERED_ODDS: Final = 5.0
"""What a repeated request that is answered takes from the odds; they never fall below this."""


@dataclass(slots=True)
class Repeats:
    """Whether push-backs depend on whom is asked for, rather than on how much is asked.

    Under load, a request that is repeated is as likely to be answered as any other. One that is
    pushed back again and again, while others are answered in between, says nothing about the load.

    Attributes:
        first: the share of first attempts that were pushed back lately; 0.5 if nothing is known.
        odds: the logarithm of how much likelier what became of repeated requests is if push-backs
            depend on the person.
    """

    first: float = 0.5
    odds: float = 0.0
    _count: int = 1

    @property
    def are_personal(self) -> bool:
        """Whether few are pushed back, and nearly always the same."""
        return self.odds >= PERSONAL_ODDS and self.first < PERSONAL_FIRST

    def first_attempt(self, *, is_pushed_back: bool) -> None:
        """The first attempt of a request ended."""
        self._count += 1
        self.first += max(FIRST_WEIGHT, 1 / self._count) * (is_pushed_back - self.first)

    def repeated(self, *, is_pushed_back: bool) -> None:
        """So did another attempt, after a push-back, and others were answered in between."""
        change = -math.log(max(FIRST_MIN, self.first)) if is_pushed_back else -ANSWERED_ODDS
        self.odds = min(PERSONAL_ODDS_MAX, max(-ANSWERED_ODDS, self.odds + change))

    def proved(self) -> None:
        """Nobody was answered, and yet a known-good request was: it lies with the others."""
        self.first, self.odds = 0.0, PERSONAL_ODDS_MAX


class PushBack(NamedTuple):
    """What to know of a request that was pushed back, when it is repeated.

    Attributes:
        answered: requests that had been answered by then.
        rate, limit: requests a second and under way after the cut that it may have made.
        has_paused_all: everybody has waited for its sake already.
        alone_s: for how long it was told to wait while others went on.
    """

    answered: int
    rate: float
    limit: float
    has_paused_all: bool = False
    alone_s: float = 0.0
