"""What bounds a run."""

from worker.core.guard import GuardLimits
from worker.core.value import Value


class RunOptions(Value, frozen=True, kw_only=True):
    """The limits of one run.

    Attributes:
        persons_concurrent: persons being read at the same time; each has one request in flight.
        batch_persons: finished persons that one transaction writes at most.
        flush_s: a smaller batch is written after this long, so that a kill costs little.
        renew_s: how often the lease is renewed while nothing is written.
        grace_s: how long persons in flight may take to finish once a stop was asked for.
        deadline_s: the run stops by itself after this long; ``None``: never.
        limits: the guard.
        sends_h_numbers: H-numbers are sent to PTS like all others.
    """

    persons_concurrent: int
    batch_persons: int
    flush_s: float = 2.0
    renew_s: float = 10.0
    grace_s: float = 4.0
    deadline_s: float | None = None
    limits: GuardLimits
    sends_h_numbers: bool = False
