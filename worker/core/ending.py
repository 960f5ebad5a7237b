"""Decides the exit code of a run. It is never 0 if a person was not read."""

from collections.abc import Mapping

from worker.errors import ExitCode


def exit_code_of(totals: Mapping[str, int]) -> ExitCode:
    """The exit code of a published run: 3 for any stale person, failure or roster error."""
    is_incomplete = totals["persons_stale"] or totals["areas_failed"] or totals["roster_faults"]
    return ExitCode.GAPS if is_incomplete else ExitCode.OK
