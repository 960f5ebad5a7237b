"""Ends a run after too many failed person-areas in a row.

``worker.core.circuit`` counts failed attempts; this counts person-areas that failed after all
their retries.
"""

from typing import Final

import msgspec

from worker.core.model import FailureKind
from worker.errors import DataContractError, RefusedError, UnavailableError, WorkerError

TRANSIENT_STREAK: Final = 30
"""Person-areas in a row that failed after all their retries."""
REFUSED_STREAK: Final = 10
"""Person-areas in a row that PTS refused with a new token and DPoP proof."""
CONTRACT_STREAK: Final = 20
"""Person-areas in a row with an unexpected response, before the first success of the run."""
CONTRACT_STREAK_LATER: Final = 150
"""The same after the first success."""


class Breaker(msgspec.Struct, kw_only=True):
    """Counts failures in a row, and successes."""

    complete: int = 0
    streak: int = 0
    kind: FailureKind | None = None

    def succeeded(self) -> None:
        """Record an area that was read to its last page."""
        self.complete += 1
        self.streak = 0
        self.kind = None

    def failed(self, kind: FailureKind, reason: str = "") -> WorkerError | None:
        """Record a failed area, and why; return an error if the run should end."""
        kind = FailureKind.CONTRACT if kind == FailureKind.PAGING else kind
        self.streak = self.streak + 1 if kind == self.kind else 1
        self.kind = kind
        return systemic(kind, self.streak, reason) if self.streak >= self._limit(kind) else None

    def refuted(self) -> None:
        """Reset the count, because a probe showed that only certain persons fail."""
        self.streak = 0
        self.kind = None

    def _limit(self, kind: FailureKind) -> float:
        match kind:
            case FailureKind.TRANSIENT:
                return TRANSIENT_STREAK
            case FailureKind.REFUSED:
                return REFUSED_STREAK
            case FailureKind.CONTRACT | FailureKind.PAGING:
                return CONTRACT_STREAK_LATER if self.complete else CONTRACT_STREAK
            case FailureKind.REJECTED | FailureKind.UNSTABLE:
                return float("inf")


def systemic(kind: FailureKind, count: int, reason: str = "") -> WorkerError | None:
    """The error that ends a run after this many failures of one kind; None if it goes on.

    Args:
        reason: of the last of them, if one is known.
    """
    last = f", the last with: {reason}" if reason else ""
    match kind:
        case FailureKind.TRANSIENT:
            return UnavailableError(
                f"PTS is unavailable: {count} person-areas in a row failed after all retries{last}",
                hint="run again later; the next run continues. `pts-worker doctor` checks "
                "api.base_url and the way to it",
            )
        case FailureKind.REFUSED:
            return RefusedError(
                f"PTS denies this client: {count} person-areas in a row were refused{last}",
                hint="check the client's scope and organisation number at HelseID; "
                "`pts-worker doctor` shows each step",
            )
        case FailureKind.CONTRACT | FailureKind.PAGING:
            return DataContractError(
                f"PTS responses have an unexpected format: {count} person-areas in a row{last}",
                hint="see `pts-worker failures list`; `pts-worker contract learn` proposes what to "
                "declare",
            )
        case FailureKind.REJECTED | FailureKind.UNSTABLE:
            return None
