"""One running sandbox for the module; each test begins with its settings and no faults."""

from collections.abc import Iterator

import pytest

from tests.support.sandbox_caller import Caller, calling
from worker.sandbox.serve import RunningSandbox


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[RunningSandbox]:
    """A sandbox with 200 persons."""
    with calling() as caller:
        yield caller.sandbox


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox) -> RunningSandbox:
    """The module's sandbox, set back."""
    shared_sandbox.control(reset=True, clear=True)
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
