"""One running sandbox for the module; each test begins with its settings and no faults."""

from collections.abc import Iterator

import pytest

from tests.support.contracts import DEFAULT
from tests.support.sandbox_caller import Caller
from worker.sandbox.serve import RunningSandbox, running_sandbox

PLAIN = {
    "generation": 0,
    "persons": 200,
    "contract": str(DEFAULT),
    "page_size": 2,
    "clock_skew_s": 0.0,
    "token_lifetime_s": 600,
    "rs_nonce": False,
    "challenge_style": "bearer",
    "faults": [],
    "clear": True,
}


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[RunningSandbox]:
    """A sandbox with 200 persons."""
    with running_sandbox(persons=200) as running:
        yield running


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox) -> RunningSandbox:
    """The module's sandbox, set back."""
    shared_sandbox.control(**PLAIN)
    return shared_sandbox


@pytest.fixture
def caller(sandbox: RunningSandbox) -> Iterator[Caller]:
    """A client that has no token yet."""
    made = Caller(sandbox)
    yield made
    made.close()


@pytest.fixture
def signed_in(caller: Caller) -> Caller:
    """A client with a token."""
    return caller.sign_in()
