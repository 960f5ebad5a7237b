"""How a run ends: from what was read to an exit code. Never 0 with a person unread."""

from collections.abc import Mapping

from worker.core.breaker import systemic
from worker.core.model import FailureKind
from worker.errors import ExitCode, WorkerError


def nothing_was_read(failures: Mapping[FailureKind, int], complete: int) -> WorkerError | None:
    """The error of a run that asked for areas and could not read a single one.

    Mixed kinds leave it to the guard: too little could be read.
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
    """The exit code of a published run: any gap shows."""
    has_gaps = totals["persons_stale"] or totals["areas_failed"] or totals["roster_faults"]
    return ExitCode.GAPS if has_gaps else ExitCode.OK
