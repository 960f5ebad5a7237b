"""Decides the exit code of a run. It is never 0 if a person was not read."""

from collections.abc import Mapping

from worker.core.breaker import systemic
from worker.core.model import FailureKind
from worker.errors import ExitCode, WorkerError


def nothing_was_read(failures: Mapping[FailureKind, int], complete: int) -> WorkerError | None:
    """The error of a run that could not read any area, if all failures are of one kind.

    If the kinds are mixed, the guard withholds the run as incomplete.
    """
    kinds = {
        FailureKind.CONTRACT if kind == FailureKind.PAGING else kind
        for kind, count in failures.items()
        if count
    }
    if complete or len(kinds) != 1:
        return None
    return systemic(kinds.pop(), sum(failures.values()))


def exit_code_of(totals: Mapping[str, int]) -> ExitCode:
    """The exit code of a published run: 3 for any stale person, failure or roster error."""
    is_incomplete = totals["persons_stale"] or totals["areas_failed"] or totals["roster_faults"]
    return ExitCode.GAPS if is_incomplete else ExitCode.OK
