"""The error that ends a run or a command in which no request succeeds, with its exit code."""

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


class _Template(NamedTuple):
    """The error for one kind of failure. ``{reason}`` in the message is the count and reason."""

    error_type: type[WorkerError]
    message: str
    hint: str

    def error_of(self, reason: str, *, hint: str = "") -> WorkerError:
        return self.error_type(self.message.format(reason=reason), hint=hint or self.hint)


_UNAVAILABLE: Final = _Template(
    UnavailableError,
    "PTS is unavailable: no request succeeds ({reason})",
    "run it again later to continue; `pts-worker doctor --probe` checks api.base_url, the "
    "network and PTS",
)
_NOT_DECLARED: Final = _Template(
    DataContractError,
    "PTS answers in a shape that is not declared ({reason})",
    "see `pts-worker failures list`; `pts-worker contract learn` proposes what to declare",
)
_TEMPLATES: Final[Mapping[FailureKind, _Template]] = {
    FailureKind.TRANSIENT: _UNAVAILABLE,
    FailureKind.REFUSED: _Template(
        RefusedError,
        "PTS denies this client: all requests are refused ({reason})",
        "compare helseid.scope and the organisation numbers with the client in HelseID "
        "self-service, and this machine's clock with NTP; `pts-worker doctor --probe` shows each "
        "step",
    ),
    FailureKind.REJECTED: _Template(
        DataContractError,
        "PTS rejects every request ({reason})",
        "check api.base_url with `pts-worker doctor --probe`, and the path and the body that the "
        "contract declares (`pts-worker contract show`)",
    ),
    FailureKind.CONTRACT: _NOT_DECLARED,
    FailureKind.PAGING: _NOT_DECLARED,
}


def verdict(errors: Sequence[WorkerError], *, wait_s_max: float, now: datetime) -> WorkerError:
    """The error that ends a run in which every area was given up.

    If all failures are of one kind, the kind determines the exit code. Mixed kinds give 69.

    Args:
        errors: the failures, in the order in which they occurred.
        wait_s_max: `sync.retry_after_max`.
    """
    # PTS has announced the time, which helps more than the advice to check the network.
    if all(error.retry_after_s > wait_s_max for error in errors):
        until = instant_after(now, max(error.retry_after_s for error in errors))
        return UnavailableError(
            f"PTS asks for a pause until {until.isoformat(timespec='seconds')} (Retry-After), "
            "longer than sync.retry_after_max",
            hint="run again after that time; it continues within sync.continue_within",
        )
    # With kinds that contradict each other, a later attempt is the only safe advice.
    last, templates = errors[-1], {_TEMPLATES[error.kind] for error in errors}
    if len(templates) > 1:
        kinds = sorted(Counter(error.kind for error in errors).items())
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds)
        return _UNAVAILABLE.error_of(f"{counts}; the last with: {last.message}")
    # Errors of HelseID, TLS and DNS already have their own message and hint.
    if not isinstance(last, AreaError):
        return last
    counts = f"{len(errors)} person-areas in a row"
    reason = f"{counts}, the last with: {last.message}"
    return _TEMPLATES[last.kind].error_of(reason, hint=last.hint)


def error_of_only_request(error: AreaError) -> WorkerError:
    """The error that ends a command after its only request failed."""
    template = _TEMPLATES[error.kind]
    return template.error_type(f"PTS: {error.message}", hint=error.hint or template.hint)
