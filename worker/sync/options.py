"""Limits of a run."""

from typing import Final

from worker.core.confirmation import Confirm
from worker.core.guard import GuardLimits
from worker.core.value import Value

CONFIRM_AFTER_S: Final = 10.0
"""Minimum time between two reads, so that a lagging replica or a cache can catch up."""


class RunOptions(Value, frozen=True, kw_only=True):
    """The limits of one run.

    Attributes:
        persons_concurrent: persons read at the same time, each with one request in flight.
        renew_s: interval of lease renewals while nothing is written.
        deadline_s: the run stops after this long; ``None``: never.
        confirm: what two reads must agree on.
        confirm_after_s: least time between them.
        patience_s: how long nobody can be read before a verdict ends a run that was ever answered.
        retry_after_s_max: the longest ``Retry-After`` that the run waits for.
    """

    persons_concurrent: int
    renew_s: float = 10.0
    deadline_s: float | None = None
    confirm: Confirm = Confirm.REMOVALS
    confirm_after_s: float = CONFIRM_AFTER_S
    limits: GuardLimits
    patience_s: float = 600.0
    retry_after_s_max: float = 900.0
    sends_h_numbers: bool = False
