"""What failures come to when nobody can be read (promise 6).

``worker.sync.breaker`` finds out whether that is so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from worker.core.retry import instant_after
from worker.errors import (
    AreaError,
    DataContractError,
    FailureKind,
    RefusedError,
    UnavailableError,
    WorkerError,
)


def verdict_of(error: AreaError) -> WorkerError:
    """What the error of the only request comes to."""
    found = _VERDICTS[_merged(error)]
    return found.error(f"PTS: {error.message}", hint=error.hint or found.hint)


def verdict(errors: Sequence[WorkerError], *, wait_s_max: float, now: datetime) -> WorkerError:
    """What failures come to if nobody can be read: one kind has its verdict, several are 69.

    Args:
        wait_s_max: the longest ``Retry-After`` that the run waits for.
    """
    if all(error.retry_after_s > wait_s_max for error in errors):
        until = instant_after(now, max(error.retry_after_s for error in errors))
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
    "run again later, which continues; `pts-worker doctor` checks api.base_url and the network",
)
_VERDICTS: Final[Mapping[FailureKind, _Verdict]] = {
    FailureKind.TRANSIENT: _UNAVAILABLE,
    FailureKind.REFUSED: _Verdict(
        RefusedError,
        "PTS denies this client: everybody is refused ({reason})",
        "compare helseid.scope and the organisation numbers with the client in HelseID "
        "self-service; `pts-worker doctor` shows each step",
    ),
    FailureKind.REJECTED: _Verdict(
        DataContractError,
        "PTS rejects every request ({reason})",
        "check api.base_url with `pts-worker doctor --probe`, and the path and the body that the "
        "contract declares (`pts-worker contract show`)",
    ),
    FailureKind.CONTRACT: _Verdict(
        DataContractError,
        "PTS answers everybody in a shape that is not declared ({reason})",
        "see `pts-worker failures list`; `pts-worker contract learn` proposes what to declare",
    ),
}


def _merged(error: WorkerError) -> FailureKind:
    return FailureKind.CONTRACT if error.kind == FailureKind.PAGING else error.kind
