"""Clocks that are wrong."""

from datetime import datetime, timedelta
from typing import Final

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far the clocks of this machine, a run's and the database's may differ."""


def is_of_the_future(at: datetime, now: datetime) -> bool:
    """Whether a time lies further ahead than clocks may differ: one of them was or is wrong."""
    return at - now > CLOCK_TOLERANCE
