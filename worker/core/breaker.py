"""When failures are no longer about persons, and what verdict they come to (promise 6).

``worker.sync.breaker`` says when a failure is open, and finds out whose it is.
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


def verdict_of(error: AreaError) -> WorkerError:
    """What the error of the only request comes to."""
    found = _VERDICTS[_merged(error)]
    return found.error(f"PTS: {error.message}", hint=error.hint or found.hint)


def wait_s(error: WorkerError) -> float:
    """How long PTS asked to wait for a person."""
    return error.retry_after_s if isinstance(error, TransientError) else 0.0


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
        return bool(self.errors) and (
            self.is_last or self.are_about_all_areas or len(self.errors) >= needed
        )

    @property
    def are_about_all_areas(self) -> bool:
        """Whether another area would be no better: HelseID, a certificate."""
        return any(map(_is_of_everybody, self.errors))

    def verdict(self, now: datetime) -> WorkerError:
        """What it comes to if nobody can be read: one kind has its verdict, several are 69."""
        if all(wait_s(error) > self.wait_s_max for error in self.errors):
            until = instant_after(now, max(map(wait_s, self.errors)))
            return UnavailableError(
                f"PTS asks for a pause until {until.isoformat(timespec='seconds')} (Retry-After), "
                "longer than sync.retry_after_max",
                hint="run again after that time; it continues within sync.continue_within",
            )
        last, kinds = self.errors[-1], Counter(map(_merged, self.errors))
        if len(kinds) > 1:
            found = _UNAVAILABLE
            who = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())) + ";"
        elif _is_of_everybody(last):
            return last
        else:
            found, who = _VERDICTS[_merged(last)], f"{len(self.errors)} person-areas in a row,"
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


def _is_of_everybody(error: WorkerError) -> bool:
    """Whether an error cannot be about a person, as HelseID's and a certificate's are."""
    return not isinstance(error, AreaError)


def _merged(error: WorkerError) -> FailureKind:
    kind = kind_of(error)
    return FailureKind.CONTRACT if kind == FailureKind.PAGING else kind
