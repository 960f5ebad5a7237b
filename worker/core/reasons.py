"""The reasons that a run reports beside its exit code, without personal values."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from worker.core.display import counted, listed
from worker.core.run import FailureCount, RunProgress
from worker.errors import FailureKind


def kinds_of(failures: Iterable[FailureCount]) -> Counter[FailureKind]:
    """The number of failed person-areas by kind."""
    kinds: Counter[FailureKind] = Counter()
    for failure in failures:
        kinds[failure.kind] += failure.persons
    return kinds


def failure_reasons(
    progress: RunProgress,
    failures: Sequence[FailureCount],
    given_up: Iterable[str],
    *,
    is_published_sync: bool,
) -> Iterator[str]:
    """The reasons for gaps in a run.

    Args:
        failures: the most frequent first.
        given_up: areas in which no request succeeded.
        is_published_sync: whether the run is a published full run, which would mark missing persons
            as departed.
    """
    if progress.roster_faults:
        lines = counted(progress.roster_faults, "line")
        departed = "; no person was marked as departed, because the missing ones may be among them"
        yield (
            f"{lines} of the roster could not be read; first error in {progress.first_roster_fault}"
            f"{departed if is_published_sync else ''}"
        )
    if failures:
        kinds = sorted(kinds_of(failures).items())
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds)
        yield f"person-areas that could not be read: {counts}"
        most = failures[0]
        yield f"most frequent in {most.area}: {most.reason}; `failures list` shows all"
    for area in given_up:
        is_refused = any(
            failure.area == area and failure.kind is FailureKind.REFUSED for failure in failures
        )
        hint = "; if this client may not read it, remove it from sync.areas" if is_refused else ""
        yield f"{area} was given up{hint}"


def roster_warnings(
    progress: RunProgress, unknown_columns: Sequence[str], *, is_published_sync: bool
) -> Iterator[str]:
    """Warnings about a roster, including one without roster errors."""
    if unknown_columns:
        yield (
            f"ignored columns of the roster: {listed(unknown_columns)}. Only off_id, local_ref and "
            "cohort are read"
        )
    if wrong := progress.checksum_warnings:
        harm = "the intended person departs" if is_published_sync else "the wrong person was read"
        yield (
            f"{counted(wrong, 'identifier')} of the roster with wrong check digits "
            f"({', '.join(progress.first_checksum_warnings)}): they were sent to PTS; if one "
            f"is mistyped, {harm}"
        )
    if other := progress.other_cohorts:
        yield (
            f"{counted(other, 'line')} of the roster with a different cohort than an earlier line "
            f"of the same person ({', '.join(progress.first_other_cohorts)}): the first line of "
            "each person counts"
        )
    if replaced := progress.labels_replaced:
        yield (
            f"{counted(replaced, 'person')} with an identifier in local_ref or cohort, which "
            "readers can see: it was masked. Use a reference that is not an identifier, and the "
            "name of a clinic or department"
        )
