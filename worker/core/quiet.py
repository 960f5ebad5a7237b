"""How long a ``Retry-After`` that ended a run binds the next starts."""

from datetime import datetime, timedelta
from typing import Final

from worker.core.clocks import is_of_the_future

QUIET_MAX: Final = timedelta(hours=1)
"""A longer request for quiet binds the next starts for this long only: it may be of one person."""


def bounded_quiet(until: datetime | None, now: datetime) -> datetime | None:
    """Until when a run that ends now binds the next starts: at most ``QUIET_MAX``."""
    return None if until is None else min(until, now + QUIET_MAX)


def is_binding(asked_at: datetime, until: datetime, now: datetime) -> bool:
    """Whether a start at ``now`` has to keep a quiet that was recorded at ``asked_at``.

    A record from the future was made under a wrong clock and binds nobody, so that no clock can
    block the worker for longer than ``QUIET_MAX``.
    """
    return now < until and not is_of_the_future(asked_at, now)
