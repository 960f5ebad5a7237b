"""The circuit breaker of an area: when it opens, who is probed, when it closes or gives up."""

from collections.abc import Iterable
from typing import cast

import pytest
from structlog.testing import capture_logs

from tests.support.clock import START, FakeRuntime
from tests.support.pts_answers import OFF_ID
from worker.core.breaker import FAILURES_MAX, Breaker, State
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.run import RunProgress
from worker.core.verdict import verdict
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
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader
from worker.sync.reading import AreaReader

pytestmark = pytest.mark.promise("6")

AWAY, DENIED = TransientError("status 503"), DeniedError("status 403")
PAUSE = TransientError("status 429, Retry-After 7200 s")
PAUSE.retry_after_s = 7_200.0
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
    return Breaker(
        area="patient-safety", patience_s=PATIENCE_S, clock=lambda: 0.0, is_answered=is_answered
    )


def fail(breaker: Breaker, error: AreaError, persons: Iterable[object]) -> None:
    for key in persons:
        breaker.fail(person(key), error, persons=MANY)


def end_probe(breaker: Breaker, at_s: float) -> None:
    breaker.clock = lambda: at_s
    breaker.end_probe()


@pytest.mark.parametrize(("patience_s", "interval_s"), [(900.0, 10.0), (30.0, 5.0)])
def test_a_short_patience_has_short_intervals(patience_s: float, interval_s: float):
    """Six probes fit into it: one that is late gives nobody up."""
    made = Breaker(area="patient-safety", patience_s=patience_s, clock=lambda: 0.0)
    assert made.probe_interval_s == interval_s


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
    """That disproves the failures of the others, too: twenty more or less, one probe is enough."""
    made = opened(SHAPE)
    fail(made, SHAPE, range(FAILURES_MAX, FAILURES_MAX + 5))
    made.succeed(person(3), 0)
    assert (state(made), made.failures) == (State.CLOSED, {})


def test_the_end_of_a_pass():
    """One failed read is enough, if it was the last."""
    made = breaker()
    fail(made, AWAY, [1])
    made.succeed(person("read"), 0)
    made.end_pass()
    assert state(made) == State.CLOSED
    fail(made, AWAY, [1])
    made.end_pass()
    assert state(made) == State.OPEN


@pytest.mark.parametrize("error", [HELSEID, CERTIFICATE])
def test_an_error_that_is_about_no_person(error: WorkerError):
    """It opens at once, and is no failure of the person."""
    made = breaker()
    made.fail(person(1), error, persons=MANY)
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
        made.end_probe()
    assert asked == ["canary", "0", "canary", "1", "canary", "2"]
    assert opened(SHAPE).begin_probe() == person("early")


def test_a_person_who_fails_again():
    """Their failure is the last one."""
    made = opened()
    fail(made, DENIED, [0])
    assert (made.errors[-1], len(made.errors)) == (DENIED, FAILURES_MAX)


def test_a_rejection_after_an_error_about_no_person():
    """PTS has answered: in a small run that is the person's own failure."""
    made = breaker()
    made.fail(person(1), HELSEID, persons=12)
    made.begin_probe()
    made.fail(person(1), RejectedError("status 404"), persons=12)
    made.end_probe()
    assert (state(made), made.failures) == (State.CLOSED, {})


def test_a_small_run_whose_failed_person_is_rejected_later():
    """A rejection of the person whose 503 opened the breaker shows that PTS answers again."""
    opened_late = breaker(is_answered=True)
    opened_late.fail(person(1), AWAY, persons=12)
    opened_late.end_pass()
    assert opened_late.begin_probe() == person(1)
    opened_late.fail(person(1), RejectedError("status 404"), persons=12)
    assert (opened_late.state, opened_late.errors) == (State.CLOSED, [])


def test_a_pass_whose_failures_were_all_personal_ends():
    """HelseID failed after a 503, and then each person of a small run was rejected."""
    small = breaker(is_answered=True)
    small.fail(person(1), AWAY, persons=12)
    small.fail(person(2), HELSEID, persons=12)
    small.begin_probe()
    for key in range(1, 13):
        small.fail(person(key), RejectedError("status 404"), persons=12)
    small.end_pass()
    assert (small.state, small.errors) == (State.CLOSED, [])


def test_giving_up():
    """After patience, if the area was ever answered; else after the first probe."""
    made = opened()
    for at_s in (0.0, PATIENCE_S - 1, PATIENCE_S):
        assert state(made) == State.OPEN
        made.begin_probe()
        assert state(made) == State.HALF_OPEN
        end_probe(made, at_s)
    assert (state(made), made.open_s) == (State.GIVEN_UP, PATIENCE_S)
    made.succeed(person("in flight"), 1)
    assert state(made) == State.GIVEN_UP
    first = breaker()
    fail(first, AWAY, range(FAILURES_MAX))
    first.begin_probe()
    first.end_probe()
    assert state(first) == State.GIVEN_UP


def test_an_area_that_was_answered_without_a_record():
    """That proves nothing if failures are about records: it is given up at once."""
    made = breaker(is_answered=True)
    fail(made, SHAPE, range(FAILURES_MAX))
    made.begin_probe()
    made.end_probe()
    assert state(made) == State.GIVEN_UP


def test_a_person_who_is_told_to_wait_is_not_probed_before():
    """The next one is probed instead; if all are told to wait, the probe waits."""
    told = TransientError("status 503")
    told.retry_after_s = 120.0
    alone = breaker(is_answered=True)
    fail(alone, told, ["first"])
    alone.clock = lambda: 20.0
    assert alone.wait_s_max > 120
    fail(alone, told, ["second"])
    alone.end_pass()
    assert alone.probe_wait_s() == 100.0
    fail(alone, AWAY, ["third"])
    assert (alone.probe_wait_s(), alone.begin_probe()) == (0.0, person("third"))


def test_a_wait_that_is_too_long_is_not_obeyed_by_probes():
    """One beyond `sync.retry_after_max` does not delay them."""
    told = TransientError("status 503")
    told.retry_after_s = 3600.0
    alone = breaker(is_answered=True)
    alone.wait_s_max = 900.0
    fail(alone, told, ["first"])
    alone.end_pass()
    assert alone.probe_wait_s() == 0.0


def test_patience_does_not_run_during_a_pause():
    """PTS has asked all requests to wait for most of the time."""
    made = opened()
    made.begin_probe()
    made.paused_s = lambda: 100.0
    end_probe(made, PATIENCE_S + 99)
    assert (state(made), made.had_outage) == (State.OPEN, True)


def test_a_read_in_flight_during_a_probe():
    """It closes the breaker, which the end of the probe leaves closed."""
    made = opened()
    made.begin_probe()
    made.succeed(person("in flight"), 1)
    made.end_probe()
    assert (state(made), made.failures) == (State.CLOSED, {})


def test_changes_of_state():
    """Each is reported once, with the state before."""
    changes: list[tuple[State, State]] = []
    made = breaker(is_answered=True)
    made.on_change = lambda breaker, before: changes.append((before, breaker.state))
    fail(made, AWAY, range(FAILURES_MAX + 1))
    made.begin_probe()
    made.end_probe()
    made.succeed(person("in flight"), 0)
    closed, opened, half_open = State.CLOSED, State.OPEN, State.HALF_OPEN
    assert changes == [(closed, opened), (opened, half_open), (half_open, opened), (opened, closed)]


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
        made.fail(person(1), error, persons=persons)
        made.end_pass()
        assert made.is_open == (opens or has_canary)


@pytest.mark.parametrize(
    ("errors", "code", "said"),
    [
        ([SHAPE, PagingError("a loop")], ExitCode.DATA_CONTRACT, "2 person-areas in a row, the"),
        ([DENIED, AWAY, DENIED], ExitCode.UNAVAILABLE, "2 refused, 1 transient"),
        ([AWAY, HELSEID], ExitCode.UNAVAILABLE, "1 refused, 1 transient"),
        ([PAUSE, PAUSE], ExitCode.UNAVAILABLE, "PTS asks for a pause until 2"),
        ([PAUSE, DENIED], ExitCode.UNAVAILABLE, "1 refused, 1 transient"),
        ([AWAY], ExitCode.UNAVAILABLE, "`pts-worker doctor --probe` checks api.base_url"),
        ([DENIED], ExitCode.REFUSED, "compare helseid.scope and the organisation numbers"),
        ([RejectedError("404")], ExitCode.DATA_CONTRACT, "check api.base_url with `pts-worker do"),
        ([RejectedError("404", hint="its own")], ExitCode.DATA_CONTRACT, "; its own"),
    ],
)
def test_failures_of_several_kinds(errors, code, said):
    """They are 69, and each is counted; of one kind the key is named that may be wrong."""
    found = verdict(errors, wait_s_max=900, now=START)
    assert found.exit_code == code
    assert said in f"{found.message}; {found.hint}"


@pytest.mark.parametrize("error", [HELSEID, CERTIFICATE])
def test_the_verdict_about_no_person(error):
    """It is the error itself."""
    assert verdict([error, error], wait_s_max=900, now=START) is error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RefusedError("HelseID: invalid_client", hint="compare"), "invalid_client → compare)"),
        (DENIED, "status 403 → compare helseid.scope and the organisation numbers"),
        (AWAY, "status 503 → run it again later to continue; `pts-worker doctor --probe`"),
    ],
)
def test_progress_and_log_have_reason_and_hint(error: AreaError, words: str):
    """At once, and the hint of the verdict if the failure itself has none."""
    failing, runtime = breaker(), FakeRuntime().runtime
    reader = AreaReader(
        pts_reader=cast("PtsReader", None),
        pace=Pace(20, runtime),
        runtime=runtime,
        progress=RunProgress(),
        breakers={failing.area: failing},
    )
    assert reader.slowness() == ""
    with capture_logs() as logs:
        fail(failing, error, range(FAILURES_MAX))
    (opened,) = (event for event in logs if event["event"] == "breaker.opened")
    assert words in reader.slowness()
    assert f"{opened['reason']} → {opened['hint']})" in reader.slowness()
    assert opened["hint"]
