"""When failures are doubtful, what they come to, and the exit code of what is published."""

import pytest

from tests.support.clock import START
from worker.core.breaker import OpenFailures
from worker.core.run import exit_code_of
from worker.errors import (
    ContractError,
    DeniedError,
    ExitCode,
    PagingError,
    RefusedError,
    TransientError,
    UnavailableError,
    WorkerError,
)

pytestmark = pytest.mark.promise("6")

AWAY, DENIED = TransientError("status 503"), DeniedError("status 403")
SHAPE = ContractError("no list")
HELSEID = RefusedError("HelseID denies the client", code="invalid_client")
CERTIFICATE = UnavailableError("the certificate is not trusted")


def told(wait_s: float) -> TransientError:
    """PTS asks to wait."""
    error = TransientError("status 429")
    error.retry_after_s = wait_s
    return error


def failures(*errors: WorkerError, has_witness: bool = False, is_last: bool = False):
    return OpenFailures(errors=errors, wait_s_max=900, has_witness=has_witness, is_last=is_last)


@pytest.mark.parametrize(
    ("made", "is_doubtful"),
    [
        (failures(*[AWAY] * 2, has_witness=True), False),
        (failures(*[AWAY] * 3, has_witness=True), True),
        (failures(*[AWAY] * 19), False),
        (failures(*[AWAY] * 20), True),
        (failures(AWAY, is_last=True), True),
        (failures(is_last=True), False),
        (failures(AWAY, HELSEID), True),
        (failures(CERTIFICATE), True),
        (failures(*[told(901)] * 19), False),
        (failures(*[told(901)] * 20), True),
    ],
)
def test_when_it_is_time_to_find_out(made, is_doubtful):
    """A few persons say little as long as nobody was read; one who was read is asked soon."""
    assert made.are_doubtful == is_doubtful


@pytest.mark.parametrize(
    ("errors", "code", "said"),
    [
        ([SHAPE, PagingError("a loop")], ExitCode.DATA_CONTRACT, "2 person-areas in a row, the"),
        ([DENIED, AWAY, DENIED], ExitCode.UNAVAILABLE, "2 refused, 1 transient"),
        ([AWAY, HELSEID], ExitCode.UNAVAILABLE, "1 refused, 1 transient"),
    ],
)
def test_failures_of_several_kinds(errors, code, said):
    """They are 69, and each is counted; pages that cannot be followed are no kind of their own."""
    verdict = failures(*errors).verdict(START)
    assert verdict.exit_code == code
    assert said in verdict.message


@pytest.mark.parametrize("error", [HELSEID, CERTIFICATE])
def test_what_cannot_be_about_a_person(error):
    """It is the verdict as it stands."""
    assert failures(error, error).verdict(START) is error


@pytest.mark.parametrize("gap", ["persons_stale", "areas_failed", "roster_faults"])
def test_any_gap_shows_in_the_exit_code(gap):
    """Never 0 with a person unread."""
    totals = {"persons_stale": 0, "areas_failed": 0, "roster_faults": 0}
    assert exit_code_of(totals) == ExitCode.OK
    assert exit_code_of({**totals, gap: 1}) == ExitCode.GAPS
