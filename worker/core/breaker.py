"""When failures are no longer about persons, and what verdict they come to (promise 6).

A failure is a person's own once somebody else has been read after it. Until then it is open, and
from open failures a verdict about an area of PTS, or about HelseID, may come.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from worker.core.model import FailureKind
from worker.core.retry import instant_after
from worker.core.value import Value
from worker.errors import (
    AreaError,
    ContractError,
    DataContractError,
    DeniedError,
    PagingError,
    RefusedError,
    RejectedError,
    TransientError,
    UnavailableError,
    WorkerError,
)

PERSONS_BESIDE_A_WITNESS: Final = 3
"""Persons with an open failure before a person who was read is asked again: that costs little."""
PERSONS_ALONE: Final = 20
"""The same while nobody was read: a roster may begin with some who fail for ever."""
SMALL_RUN: Final = 20
"""In a run of fewer persons PTS may have good reasons to reject each of them."""
SPACING_S: Final = 10.0
"""Between two requests while nobody can be read."""
WAITING_S_MAX: Final = 10.0
"""When only persons are left whom PTS asked to wait for, they are waited for no longer."""

_KINDS: Final[tuple[tuple[type[WorkerError], FailureKind], ...]] = (
    (DeniedError, FailureKind.REFUSED),
    (RefusedError, FailureKind.REFUSED),
    (RejectedError, FailureKind.REJECTED),
    (PagingError, FailureKind.PAGING),
    (ContractError, FailureKind.CONTRACT),
    (TransientError, FailureKind.TRANSIENT),
    (UnavailableError, FailureKind.TRANSIENT),
)


def kind_of(error: WorkerError) -> FailureKind:
    """The failure kind that the ledger records for an error."""
    kinds = (kind for error_type, kind in _KINDS if isinstance(error, error_type))
    return next(kinds, FailureKind.CONTRACT)


def is_of_everybody(error: WorkerError) -> bool:
    """Whether an error cannot be about a person, as HelseID's and a certificate's are."""
    return not isinstance(error, AreaError)


def spacing_s(patience_s: float) -> float:
    """Seconds between two requests while nobody can be read: ten, or less with little patience."""
    return min(SPACING_S, patience_s / 6)


def wait_s(error: WorkerError) -> float:
    """How long PTS asked to wait for a person."""
    return error.retry_after_s if isinstance(error, TransientError) else 0.0


def is_own_at_the_end(error: WorkerError, *, left_s: float, persons: int, has_read: bool) -> bool:
    """Whether a failure of one of the last persons of a run is theirs without more evidence.

    Args:
        left_s: until the person may be asked again.
        persons: on the roster.
        has_read: somebody was read in this run.
    """
    is_rejected = kind_of(error) == FailureKind.REJECTED
    return (is_rejected and persons < SMALL_RUN) or (has_read and left_s > WAITING_S_MAX)


class OpenFailures(Value, frozen=True, kw_only=True):
    """The open failures of an area, and what is known of PTS.

    Attributes:
        errors: one of each person.
        wait_s_max: the longest ``Retry-After`` that the run waits for.
        has_witness: somebody was read in this area.
        is_last: nobody else is being read, and nobody is left on the roster.
    """

    errors: Sequence[WorkerError]
    wait_s_max: float
    has_witness: bool
    is_last: bool

    @property
    def are_doubtful(self) -> bool:
        """Whether it is time to find out who is at fault."""
        needed = PERSONS_BESIDE_A_WITNESS if self.has_witness else PERSONS_ALONE
        return (
            self.is_last
            or self.are_told_to_wait
            or any(map(is_of_everybody, self.errors))
            or len(self.errors) >= needed
        )

    @property
    def are_told_to_wait(self) -> bool:
        """Whether PTS asks everybody to wait for longer than the run would."""
        longest = sum(wait_s(error) > self.wait_s_max for error in self.errors)
        are_all_left = self.is_last and not self.has_witness and longest == len(self.errors)
        return longest >= PERSONS_BESIDE_A_WITNESS or are_all_left

    @property
    def are_asked_later(self) -> bool:
        """Whether PTS asks one of them to wait, for no longer than the run would."""
        return any(0 < wait_s(error) <= self.wait_s_max for error in self.errors)

    @property
    def are_about_all_areas(self) -> bool:
        """Whether another area of PTS would be no better."""
        return self.are_told_to_wait or is_of_everybody(self.errors[-1])

    def verdict(self, now: datetime) -> WorkerError:
        """What it comes to if nobody can be read."""
        last, count = self.errors[-1], len(self.errors)
        if self.are_told_to_wait:
            until = instant_after(now, max(map(wait_s, self.errors)))
            return UnavailableError(
                f"PTS asks for a pause until {until.isoformat(timespec='seconds')} (Retry-After), "
                "longer than sync.retry_after_max",
                hint="run again after that time; it continues within sync.continue_within",
            )
        kinds = Counter(map(_merged, self.errors))
        if len(kinds) == 1 and is_of_everybody(last):
            return last
        if len(kinds) == 1:
            found, who = _VERDICTS[_merged(last)], f"{count} persons in a row,"
        else:
            numbers = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
            found, who = _UNAVAILABLE, f"{numbers};"
        reason = f"{who} the last with: {last.message}"
        return found.error(found.message.format(reason=reason), hint=found.hint)


class _Verdict(NamedTuple):
    error: type[WorkerError]
    message: str
    hint: str


_UNAVAILABLE: Final = _Verdict(
    UnavailableError,
    "PTS is unavailable: nobody can be read ({reason})",
    "run again later; the next run continues. `pts-worker doctor` finds what is wrong on this side",
)
_VERDICTS: Final[Mapping[FailureKind, _Verdict]] = {
    FailureKind.TRANSIENT: _UNAVAILABLE,
    FailureKind.REFUSED: _Verdict(
        RefusedError,
        "PTS denies this client: everybody is refused ({reason})",
        "check the client's scope and organisation number at HelseID; `pts-worker doctor` shows "
        "each step",
    ),
    FailureKind.REJECTED: _Verdict(
        DataContractError,
        "PTS rejects every request ({reason})",
        "check the path and the body that the contract declares (`pts-worker contract show`)",
    ),
    FailureKind.CONTRACT: _Verdict(
        DataContractError,
        "PTS answers everybody in a shape that is not declared ({reason})",
        "see `pts-worker failures list`; `pts-worker contract learn` proposes what to declare",
    ),
}
"""What failures of one kind come to; PTS is unavailable if there are several."""


def together(verdicts: Sequence[WorkerError]) -> WorkerError:
    """One verdict from those about each area."""
    if len({one.exit_code for one in verdicts}) == 1:
        return verdicts[-1]
    return UnavailableError(
        "; ".join(one.message for one in verdicts),
        hint="run again later, and the next run continues",
    )


def _merged(error: WorkerError) -> FailureKind:
    kind = kind_of(error)
    return FailureKind.CONTRACT if kind == FailureKind.PAGING else kind
