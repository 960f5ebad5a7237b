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
    progress: RunProgress, failures: Sequence[FailureCount], given_up: Iterable[str]
) -> Iterator[str]:
    """The reasons for the gaps of a run.

    Args:
        failures: the most frequent first.
        given_up: areas in which no request succeeded.
    """
    if progress.roster_faults:
        yield (
            f"{counted(progress.roster_faults, 'line')} of the roster could not be read, "
            f"the first, {progress.first_roster_fault}; no person was marked as departed, "
            "because the missing persons may be among them"
        )
    if failures:
        kinds = sorted(kinds_of(failures).items())
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds)
        yield f"person-areas that could not be read: {counts}"
        most = failures[0]
        yield f"the most frequent, {most.area}: {most.reason}; `failures list` has all"
    for area in given_up:
        yield (
            f"{area} was given up; leave out an area that this client may not read with sync.areas"
        )


def roster_warnings(progress: RunProgress, unknown_columns: Sequence[str]) -> Iterator[str]:
    """Warnings about a roster, including one without roster errors."""
    if unknown_columns:
        yield (
            f"columns of the roster that are not read: {listed(unknown_columns)}; off_id, "
            "local_ref and cohort are"
        )
    if wrong := progress.checksum_warnings:
        yield (
            f"{counted(wrong, 'identifier')} of the roster with wrong control digits: PTS was "
            "asked all the same; if one is mistyped, the intended person departs"
        )
    if other := progress.other_cohorts:
        yield (
            f"{counted(other, 'line')} of the roster with another cohort for a person of an "
            f"earlier line ({', '.join(progress.first_other_cohorts)}): the first line of each "
            "person counts"
        )
    if replaced := progress.labels_replaced:
        yield (
            f"{counted(replaced, 'person')} with an identifier in local_ref or cohort, which "
            "readers can see: it was masked; give a reference that is no identifier, and the "
            "name of a clinic or department"
        )
