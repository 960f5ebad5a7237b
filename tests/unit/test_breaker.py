"""The circuit breaker of an area: when it opens, who is probed, when it closes or gives up."""

from collections.abc import Iterable

import pytest

from tests.support.clock import START
from tests.support.pts_answers import OFF_ID
from worker.core.breaker import FAILURES_MAX, Breaker, Failure, State, verdict
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.errors import (
    AreaError,
    ContractError,
    DeniedError,
    ExitCode,
    PagingError,
    RefusedError,
    RejectedError,
    TransientError,
    UnavailableError,
    WorkerError,
)

pytestmark = pytest.mark.promise("6")

AWAY, DENIED = TransientError("status 503"), DeniedError("status 403")
SHAPE = ContractError("no list")
HELSEID = RefusedError("HelseID denies the client", code="invalid_client")
CERTIFICATE = UnavailableError("the certificate is not trusted")
PATIENCE_S = 600.0
MANY = 1_000
"""Persons of the run."""


def person(key: object) -> Person:
    return Person(person_key=str(key), off_id=NationalId(OFF_ID))


def state(breaker: Breaker) -> State:
    return breaker.state


def breaker(*, is_answered: bool = False) -> Breaker:
    return Breaker(area="patient-safety", patience_s=PATIENCE_S, is_answered=is_answered)


def fail(breaker: Breaker, error: AreaError, persons: Iterable[object], at_s: float = 0.0) -> None:
    for key in persons:
        breaker.fail(person(key), error, at_s, persons=MANY)


def opened(error: AreaError = AWAY) -> Breaker:
    """A breaker that 20 failures have opened, after two persons were read."""
    made = breaker()
    made.succeed(person("early"), 1)
    made.succeed(person("canary"), 0)
    fail(made, error, range(FAILURES_MAX))
    assert state(made) == State.OPEN
    return made


def test_twenty_persons_in_a_row():
    """Failures of the same person count once, and a complete read begins anew."""
    made = breaker()
    fail(made, AWAY, [0] * 100)
    fail(made, AWAY, range(FAILURES_MAX - 1))
    made.succeed(person("read"), 0)
    fail(made, AWAY, range(FAILURES_MAX - 1))
    assert state(made) == State.CLOSED
    fail(made, AWAY, ["another"])
    assert state(made) == State.OPEN


def test_empty_answers_prove_nothing_of_records():
    """Failures about records go on being counted until a read holds one."""
    made = breaker()
    for key in range(FAILURES_MAX):
        made.succeed(person(f"empty {key}"), 0)
        fail(made, SHAPE, [key])
    assert state(made) == State.OPEN
    made.succeed(person("empty"), 0)
    assert made.is_open
    made.succeed(person("holder"), 1)
    assert (state(made), made.failures) == (State.CLOSED, {})


def test_a_person_who_failed_and_is_read():
    """Their own failure is disproved, whatever it was about."""
    made = opened(SHAPE)
    made.succeed(person(3), 0)
    assert (state(made), len(made.failures)) == (State.CLOSED, FAILURES_MAX - 1)


def test_the_end_of_a_pass():
    """One failed read is enough, if it was the last."""
    made = breaker()
    fail(made, AWAY, [1])
    made.succeed(person("read"), 0)
    made.end_pass(0.0)
    assert state(made) == State.CLOSED
    fail(made, AWAY, [1])
    made.end_pass(0.0)
    assert state(made) == State.OPEN


@pytest.mark.parametrize("error", [HELSEID, CERTIFICATE])
def test_an_error_that_is_about_no_person(error: WorkerError):
    """It opens at once, and is no failure of the person."""
    made = breaker()
    made.fail_for_everyone(person(1), error, 0.0)
    assert state(made) == State.OPEN
    assert made.begin_probe() == person(1)
    fail(made, AWAY, [1])
    assert [*made.failures] == ["1"]


def test_whom_probes_ask():
    """Canaries, latest first, and those who failed, in turn; about records, a holder."""
    made = opened()
    asked = []
    for _ in range(6):
        asked.append(made.begin_probe().person_key)
        made.end_probe(0.0)
    assert asked == ["canary", "0", "early", "1", "canary", "2"]
    assert opened(SHAPE).begin_probe() == person("early")


def test_giving_up():
    """After patience, if the area was ever answered; else after the first probe."""
    made = opened()
    for at_s in (0.0, PATIENCE_S - 1, PATIENCE_S):
        assert state(made) == State.OPEN
        made.begin_probe()
        assert state(made) == State.HALF_OPEN
        made.end_probe(at_s)
    assert state(made) == State.GIVEN_UP
    made.succeed(person("in flight"), 1)
    assert state(made) == State.GIVEN_UP
    first = breaker()
    fail(first, AWAY, range(FAILURES_MAX))
    first.begin_probe()
    first.end_probe(0.0)
    assert state(first) == State.GIVEN_UP


def test_an_area_that_was_answered_without_a_record():
    """That proves nothing if failures are about records: it is given up at once."""
    made = breaker(is_answered=True)
    fail(made, SHAPE, range(FAILURES_MAX))
    made.begin_probe()
    made.end_probe(0.0)
    assert state(made) == State.GIVEN_UP


def test_a_wait_that_is_obeyed():
    """It is no failure, and a probe that meets one is repeated later."""
    error = TransientError("status 503")
    error.is_wait_obeyed = True
    made = breaker()
    fail(made, error, range(FAILURES_MAX))
    made.end_pass(0.0)
    assert state(made) == State.CLOSED


@pytest.mark.parametrize(
    ("error", "persons", "opens"),
    [
        (RejectedError("status 404"), 19, False),
        (SHAPE, 19, False),
        (AWAY, 19, True),
        (DENIED, 19, True),
        (RejectedError("status 404"), 20, True),
    ],
)
def test_a_small_run(error: AreaError, persons: int, *, opens: bool):
    """PTS may have reasons to reject each of a few persons, unless one of them was read."""
    for has_canary in (False, True):
        made = breaker()
        if has_canary:
            made.succeed(person("read"), 1)
        made.fail(person(1), error, 0.0, persons=persons)
        made.end_pass(0.0)
        assert made.is_open == (opens or has_canary)


def given_up(*errors: WorkerError) -> Breaker:
    made = breaker()
    made.failures = {str(key): Failure(person(key), error) for key, error in enumerate(errors)}
    return made


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
    found = verdict([given_up(*errors)], wait_s_max=900, now=START)
    assert found.exit_code == code
    assert said in f"{found.message}; {found.hint}"


@pytest.mark.parametrize("error", [HELSEID, CERTIFICATE])
def test_the_verdict_about_no_person(error):
    """It is the error itself."""
    assert verdict([given_up(error), given_up(error)], wait_s_max=900, now=START) is error
