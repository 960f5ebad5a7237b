"""The worker's own senders and throttle against servers whose limits they do not know."""

import pytest

from tests.support.politeness.scenarios import (
    FALLS_S,
    LIMITS,
    OTHER_LIMITS,
    RISES_S,
    WARM_UP_S,
    falling_and_rising,
    settling,
)
from tests.support.politeness.world import AWAY, LOST, REFUSED, SPOILT, Server, simulate
from worker.core.retry import RETRIES_SHARE, RETRIES_SPARE

pytestmark = pytest.mark.promise("7")


@pytest.mark.parametrize(
    "limit",
    [*LIMITS[:2], *(pytest.param(one, marks=pytest.mark.nightly) for one in LIMITS[2:])],
    ids=str,
)
def test_an_unknown_limit_is_found(limit):
    """At least 0.6 of what the server sustains, with few refusals and nobody lost."""
    course = settling(limit)
    end_s = course.elapsed_s - 10
    accepted = course.accepted_per_s(WARM_UP_S, end_s)
    assert 0.6 * limit.rate <= accepted
    assert accepted * (end_s - WARM_UP_S) <= limit.rate * (end_s - WARM_UP_S) + limit.burst
    assert course.refused_share() < 0.04
    assert course.gaps <= 5


@pytest.mark.nightly
@pytest.mark.parametrize("limit", OTHER_LIMITS, ids=str)
def test_other_limits(limit):
    """Without a burst, with Retry-After, with slow answers, just below the ceiling."""
    test_an_unknown_limit_is_found(limit)


def test_a_limit_that_falls_and_rises():
    """A limit that falls to a fifth is met within seconds; one that rises again, in minutes."""
    course = falling_and_rising()
    assert course.refused_share() < 0.01
    assert course.count(REFUSED, start_s=FALLS_S, end_s=FALLS_S + 10) < 40
    assert 6.0 <= course.accepted_per_s(FALLS_S + 30, RISES_S) <= 10.5
    assert 35.0 <= course.accepted_per_s(RISES_S + 240, RISES_S + 300) <= 50.5


def test_the_retry_budget():
    """With a fifth of all requests spoilt, a tenth and the spare are repeated, not more."""
    course = simulate(Server(failing=0.2), ceiling=100, requests=5_000)
    retried, asked = course.stats.retries, course.stats.requests - course.stats.retries
    most = RETRIES_SHARE * asked + RETRIES_SPARE
    assert 0.9 * most < retried <= most


def test_spoilt_answers_do_not_slow_it_down():
    """A 500 says nothing about the load: one in twenty changes neither rate nor concurrency."""
    course = simulate(Server(failing=0.05), ceiling=100, requests=5_000)
    assert course.count(SPOILT) > 200
    assert {rate for _, rate in course.rates} == {100.0}
    assert {places for _, places in course.places} == {16}
    assert course.gaps == 0


@pytest.mark.nightly
def test_refusals_that_come_whatever_the_rate():
    """One 503 in a hundred, at any rate, costs speed but does not bring the worker to a halt."""
    server = Server(failing=0.01, failing_status=AWAY)
    course = simulate(server, ceiling=50, requests=10_000)
    assert 10_000 / course.elapsed_s > 10


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(AWAY, id="503"),
        pytest.param(LOST, id="no answer", marks=pytest.mark.nightly),
        pytest.param(SPOILT, id="500", marks=pytest.mark.nightly),
    ],
)
def test_persons_who_are_always_refused_slow_nobody_else_down(status):
    """Two of a hundred who fail for ever, however: the others come at nearly the full rate."""
    undisturbed = simulate(Server(), ceiling=100, requests=4_000)
    course = simulate(
        Server(failing_every=50, failing_status=status, timeout_s=0.05), ceiling=100, requests=4_000
    )
    assert course.gaps == 80
    assert course.elapsed_s < undisturbed.elapsed_s / 0.7
