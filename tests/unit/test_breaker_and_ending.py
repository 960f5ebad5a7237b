"""When a run stops asking, and with which exit code it ends."""

import pytest

from worker.core.breaker import Breaker
from worker.core.ending import exit_code_of, nothing_was_read
from worker.core.model import FailureKind
from worker.errors import ExitCode

K = FailureKind


def first_end(breaker: Breaker, kind: FailureKind, count: int) -> tuple[int, ExitCode] | None:
    for number in range(1, count + 1):
        error = breaker.failed(kind)
        if error is not None:
            assert f"{number} person-areas" in str(error)
            return number, error.exit_code
    return None


@pytest.mark.promise("6")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (K.TRANSIENT, (30, ExitCode.UNAVAILABLE)),
        (K.REFUSED, (10, ExitCode.REFUSED)),
        (K.CONTRACT, (20, ExitCode.DATA_CONTRACT)),
        (K.PAGING, (20, ExitCode.DATA_CONTRACT)),
        (K.REJECTED, None),
    ],
)
def test_failures_in_a_row_end_the_run(kind, expected):
    """Each kind has its own patience and its own exit code."""
    assert first_end(Breaker(), kind, 500) == expected


def test_a_success_begins_the_count_anew():
    """Scattered failures are gaps, not a reason to stop."""
    breaker = Breaker()
    for _ in range(100):
        assert first_end(breaker, K.TRANSIENT, 29) is None
        breaker.succeeded()
    assert breaker.complete == 100


def test_failures_of_different_kinds_are_no_row():
    """Now this and now that is no sign of trouble; two ways not to understand are one kind."""
    breaker = Breaker()
    mixed = [breaker.failed(kind) for _ in range(100) for kind in (K.TRANSIENT, K.REFUSED)]
    assert mixed == [None] * 200
    breaker = Breaker()
    errors = [breaker.failed(kind) for _ in range(10) for kind in (K.CONTRACT, K.PAGING)]
    assert errors[:-1] == [None] * 19
    assert errors[-1] is not None


def test_once_understood_the_breaker_is_more_patient_with_shapes():
    """A shape that is not understood late in a run needs more evidence."""
    breaker = Breaker()
    breaker.succeeded()
    assert first_end(breaker, K.CONTRACT, 500) == (150, ExitCode.DATA_CONTRACT)


@pytest.mark.parametrize(
    ("failures", "complete", "expected"),
    [
        ({}, 0, None),
        ({K.TRANSIENT: 3}, 1, None),
        ({K.TRANSIENT: 3}, 0, ExitCode.UNAVAILABLE),
        ({K.REFUSED: 1}, 0, ExitCode.REFUSED),
        ({K.CONTRACT: 1, K.PAGING: 1}, 0, ExitCode.DATA_CONTRACT),
        ({K.TRANSIENT: 1, K.CONTRACT: 1}, 0, None),
        ({K.REJECTED: 4}, 0, None),
    ],
)
def test_a_run_that_read_nothing_ends_by_its_failures(failures, complete, expected):
    """On a small roster there is no streak; what all failures have in common decides."""
    error = nothing_was_read(failures, complete)
    assert (error.exit_code if error else None) == expected
    assert error is None or f"{sum(failures.values())} person-areas" in str(error)


@pytest.mark.promise("6")
@pytest.mark.parametrize("gap", ["persons_stale", "areas_failed", "roster_faults"])
def test_any_gap_shows_in_the_exit_code(gap):
    """Never 0 with a person unread."""
    totals = {"persons_stale": 0, "areas_failed": 0, "roster_faults": 0}
    assert exit_code_of(totals) == ExitCode.OK
    assert exit_code_of({**totals, gap: 1}) == ExitCode.GAPS
