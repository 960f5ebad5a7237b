"""The worker's own senders and throttle against servers whose limits they do not know."""

import math
from itertools import pairwise

import pytest

from tests.support.politeness.scenarios import (
    AWAY_S,
    FALLS_S,
    LIMITS,
    OTHER_LIMITS,
    RISES_S,
    SLOW_S,
    WARM_UP_S,
    WELL_S,
    falling_and_rising,
    outage,
    settling,
    slowing_down,
    staying_slow,
)
from tests.support.politeness.world import AWAY, LOST, OK, REFUSED, SPOILT, Server, simulate
from worker.core.retry import RetryBudget
from worker.errors import ExitCode

pytestmark = pytest.mark.promise("7")

*USUAL, FAST = LIMITS
EVERY_NIGHT = [pytest.param(limit, marks=pytest.mark.nightly) for limit in (FAST, *OTHER_LIMITS)]


@pytest.mark.parametrize("limit", [*USUAL, *EVERY_NIGHT], ids=str)
def test_it_settles_just_below_the_limit(limit):
    """It gets nine tenths of what the server sustains, or more; less than 2 % are refused."""
    course = settling(limit)
    assert course.gaps == 0
    assert course.refused_share() < 0.02
    assert course.refused_share(start_s=WARM_UP_S) < 0.02
    end_s = course.elapsed_s - 1
    accepted = course.accepted_per_s(WARM_UP_S, end_s)
    assert 0.9 * limit.rate <= accepted
    assert accepted * (end_s - WARM_UP_S) <= limit.rate * (end_s - WARM_UP_S) + limit.burst


def test_a_limit_that_falls_and_rises():
    """A limit that falls to a fifth is met within seconds; one that rises again, in minutes."""
    course = falling_and_rising()
    assert course.refused_share() < 0.02
    assert course.count(REFUSED, start_s=FALLS_S, end_s=FALLS_S + 10) < 40
    assert 9.0 <= course.accepted_per_s(FALLS_S + 30, RISES_S) <= 10.5
    assert 45.0 <= course.accepted_per_s(RISES_S + 240, RISES_S + 300) <= 50.5


def test_a_slow_server_is_asked_less_at_once():
    """Answers that take twenty times as long bring the concurrency down, and back with health."""
    course = slowing_down()
    assert course.places_at(SLOW_S) == 16
    assert course.places_at(SLOW_S + 15) <= 2
    assert course.places_at(WELL_S + 30) >= 10  # at 100 a second no more are needed
    assert course.count() == course.count(OK)


@pytest.mark.nightly
def test_what_stays_slow_becomes_usual():
    """After some hundred answers the slowness is taken as it is, and concurrency rises again."""
    course = staying_slow()
    assert course.places_at(SLOW_S + 60) <= 2
    assert course.places_at(900) == 16


@pytest.mark.parametrize("silent", [False, True], ids=["503", "no answer"])
def test_an_outage_ends_the_run(silent):
    """Ten minutes of outage end the run with 69, after at most 40 requests, the last single."""
    course = outage(silent=silent)
    assert course.ending is not None
    assert course.ending.exit_code == ExitCode.UNAVAILABLE
    assert course.count(start_s=AWAY_S) <= 40
    last = [at_s for at_s, _ in course.requests[-4:]]
    assert all(later - sooner >= 1.0 for sooner, later in pairwise(last))
    assert course.gaps == 0


def test_a_restart_is_survived():
    """Twenty seconds of 503 cost two dozen requests, no gap, and not the run."""
    course = outage(seconds=20)
    assert (course.ending, course.gaps, course.count(OK)) == (None, 0, 8_000)
    assert course.count(AWAY) <= 24
    assert course.accepted_per_s(AWAY_S + 180, AWAY_S + 240) >= 19


def test_the_retry_budget():
    """With a fifth of all requests spoilt, a tenth and the spare are repeated; others are gaps."""
    course = simulate(Server(failing=0.2), ceiling=100, requests=5_000)
    budget = RetryBudget()
    windows = math.ceil(course.elapsed_s / (budget.window_s * 5 / 6))
    assert course.stats.retries <= budget.share * 5_000 + budget.spare * windows
    assert course.gaps == course.stats.unretried > 200
    assert course.ending is None


def test_spoilt_answers_do_not_slow_it_down():
    """A 500 says nothing about the load: one in twenty changes neither rate nor concurrency."""
    course = simulate(Server(failing=0.05), ceiling=100, requests=5_000)
    assert course.count(SPOILT) > 200
    assert {rate for _, rate in course.rates} == {100.0}
    assert {places for _, places in course.places} == {16.0}
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
    assert (course.gaps, course.ending) == (80, None)
    assert course.elapsed_s < undisturbed.elapsed_s / 0.7
    assert course.count() < 4_000 + 80 * 4 + 1  # each of them with all retries, and no more


@pytest.mark.nightly
def test_a_limit_is_found_beside_them():
    """So it is before a limit of PTS's own, which is kept to."""
    server = Server(rate=50, burst=50, failing_every=50, failing_status=AWAY)
    course = simulate(server, ceiling=200, requests=8_000)
    end_s = course.elapsed_s - 10
    accepted = course.count(OK, AWAY, start_s=WARM_UP_S, end_s=end_s) / (end_s - WARM_UP_S)
    assert 0.7 * 50 <= accepted <= 50.5
    assert course.count(REFUSED) < 0.02 * course.count()
