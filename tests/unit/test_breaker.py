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
    RejectedError,
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
        ([AWAY], ExitCode.UNAVAILABLE, "`pts-worker doctor` checks api.base_url"),
        ([DENIED], ExitCode.REFUSED, "compare helseid.scope and the organisation numbers"),
        ([RejectedError("404")], ExitCode.DATA_CONTRACT, "check api.base_url with `pts-worker do"),
    ],
)
def test_failures_of_several_kinds(errors, code, said):
    """They are 69, and each is counted; of one kind the key is named that may be wrong."""
    found = verdict(errors, wait_s_max=900, now=START)
    assert found.exit_code == code
    assert said in f"{found.message}; {found.hint}"


@pytest.mark.parametrize("error", [HELSEID, CERTIFICATE])
def test_what_cannot_be_about_a_person(error):
    """It is the verdict as it stands."""
    assert verdict([error, error], wait_s_max=900, now=START) is error
