"""What bounds a run."""

from typing import Final

from worker.core.guard import GuardLimits
from worker.core.value import Value

CONFIRM_AFTER_S: Final = 2.0
"""A second read comes so long after the first: a lagging replica or a cache must have had time."""
WAITING_MAX: Final = 256
"""So many persons wait for their second read, unless a batch is larger."""


class RunOptions(Value, frozen=True, kw_only=True):
    """The limits of one run.

    Attributes:
        persons_concurrent: persons being read at the same time; each has one request in flight.
        batch_persons: finished persons that one transaction writes at most.
        flush_s: a smaller batch is written after this long, so that a kill costs little.
        renew_s: how often the lease is renewed while nothing is written.
        grace_s: how long persons in flight may take to finish once a stop was asked for.
        deadline_s: the run stops by itself after this long; ``None``: never.
        confirm_after_s: how long after its first read an area is read a second time, at least.
        limits: the guard.
        sends_h_numbers: H-numbers are sent to PTS like all others.
    """

    persons_concurrent: int
    batch_persons: int
    flush_s: float = 2.0
    renew_s: float = 10.0
    grace_s: float = 4.0
    deadline_s: float | None = None
    confirm_after_s: float = CONFIRM_AFTER_S
    limits: GuardLimits
    sends_h_numbers: bool = False
