"""When to stop asking: nobody is served by hammering a service that fails or refuses.

Pure: told of each area's end in the order in which they happen, it says when and why to stop.
"""

from typing import Final

import msgspec

from worker.core.model import FailureKind
from worker.errors import DataContractError, RefusedError, UnavailableError, WorkerError

TRANSIENT_STREAK: Final = 30
"""Person-areas in a row that failed after all their retries."""
REFUSED_STREAK: Final = 10
"""Person-areas in a row that PTS refused with a fresh token and proof."""
CONTRACT_STREAK: Final = 20
"""Person-areas in a row that were not understood, before the first that was."""
CONTRACT_STREAK_LATER: Final = 200
"""The same after PTS has been understood in this run."""


class Breaker(msgspec.Struct, kw_only=True):
    """Counts failures in a row, and the successes before them."""

    complete: int = 0
    streak: int = 0
    kind: FailureKind | None = None

    def succeeded(self) -> None:
        """An area was read to its last page."""
        self.complete += 1
        self.streak = 0
        self.kind = None

    def failed(self, kind: FailureKind) -> WorkerError | None:
        """An area could not be read; an error if the run should end with it."""
        kind = FailureKind.CONTRACT if kind == FailureKind.PAGING else kind
        self.streak = self.streak + 1 if kind == self.kind else 1
        self.kind = kind
        return systemic(kind, self.streak) if self.streak >= self._limit(kind) else None

    def refuted(self) -> None:
        """PTS answers others as it should: the failures in a row are of certain persons."""
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


def systemic(kind: FailureKind, count: int) -> WorkerError | None:
    """The error that a run ends with when nothing but this kind of failure is left."""
    match kind:
        case FailureKind.TRANSIENT:
            return UnavailableError(
                f"PTS is unavailable: {count} person-areas in a row failed after all retries",
                hint="run again later; the next run continues. See `pts-worker failures list`",
            )
        case FailureKind.REFUSED:
            return RefusedError(
                f"PTS denies this client: {count} person-areas in a row were refused",
                hint="check the client's scope and organisation number at HelseID; "
                "`pts-worker doctor` shows each step",
            )
        case FailureKind.CONTRACT | FailureKind.PAGING:
            return DataContractError(
                f"PTS answers in a shape that is not understood: {count} person-areas in a row",
                hint="look at `pts-worker failures list`; the shape can be declared under "
                "[areas.NAME] in the configuration",
            )
        case FailureKind.REJECTED | FailureKind.UNSTABLE:
            return None
