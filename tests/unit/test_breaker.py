"""What failures come to."""

import pytest

from tests.support.clock import START
from worker.core.breaker import verdict
from worker.errors import (
    ContractError,
    DeniedError,
    ExitCode,
    PagingError,
    RefusedError,
    TransientError,
    UnavailableError,
)

pytestmark = pytest.mark.promise("6")

AWAY, DENIED = TransientError("status 503"), DeniedError("status 403")
SHAPE = ContractError("no list")
HELSEID = RefusedError("HelseID denies the client", code="invalid_client")
CERTIFICATE = UnavailableError("the certificate is not trusted")


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
    found = verdict(errors, wait_s_max=900, now=START)
    assert found.exit_code == code
    assert said in found.message


@pytest.mark.parametrize("error", [HELSEID, CERTIFICATE])
def test_what_cannot_be_about_a_person(error):
    """It is the verdict as it stands."""
    assert verdict([error, error], wait_s_max=900, now=START) is error
