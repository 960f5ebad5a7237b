"""When failures are no longer about persons, and what verdict they come to (promise 6).

``worker.sync.breaker`` says when a failure is open, and finds out whose it is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from worker.core.model import FailureKind
from worker.core.retry import instant_after
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


def are_doubtful(errors: Sequence[WorkerError], *, has_witness: bool, is_last: bool) -> bool:
    """Whether it is time to find out who is at fault.

    Args:
        errors: the open failures of an area, one of each person.
        has_witness: somebody was read in this area.
        is_last: nobody is left who has not been asked yet.
    """
    if is_last or are_of_everybody(errors):
        return bool(errors)
    return len(errors) >= (PERSONS_BESIDE_A_WITNESS if has_witness else PERSONS_ALONE)


def are_of_everybody(errors: Sequence[WorkerError]) -> bool:
    """Whether one cannot be about a person or an area, as HelseID's and a certificate's."""
    return not all(isinstance(error, AreaError) for error in errors)


def verdict(errors: Sequence[WorkerError], *, wait_s_max: float, now: datetime) -> WorkerError:
    """What failures come to if nobody can be read: one kind has its verdict, several are 69.

    Args:
        wait_s_max: the longest ``Retry-After`` that the run waits for.
    """
    if all(wait_s(error) > wait_s_max for error in errors):
        until = instant_after(now, max(map(wait_s, errors)))
        return UnavailableError(
            f"PTS asks for a pause until {until.isoformat(timespec='seconds')} (Retry-After), "
            "longer than sync.retry_after_max",
            hint="run again after that time; it continues within sync.continue_within",
        )
    last, kinds = errors[-1], Counter(map(_merged, errors))
    if len(kinds) > 1:
        found = _UNAVAILABLE
        who = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())) + ";"
    elif not isinstance(last, AreaError):
        return last
    else:
        found, who = _VERDICTS[_merged(last)], f"{len(errors)} person-areas in a row,"
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


def _merged(error: WorkerError) -> FailureKind:
    kind = kind_of(error)
    return FailureKind.CONTRACT if kind == FailureKind.PAGING else kind
