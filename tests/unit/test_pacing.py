"""What answers teach about the rate, and about how many requests may be under way."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.pacing import (
    RATE_MIN,
    ConcurrencyPace,
    Pressure,
    RatePace,
    pressure_of,
)

pytestmark = pytest.mark.promise("7")


@pytest.mark.parametrize(
    ("expected", "statuses"),
    [
        (Pressure.REFUSAL, [429, 503]),
        (Pressure.LOAD, [None, 408, 502, 504]),
        (Pressure.NONE, [500, 425, 507]),
    ],
)
def test_what_a_failure_says_about_the_load(expected, statuses):
    """A 500 is the request's own affair; 429 and 503 are ours."""
    assert [pressure_of(status) for status in statuses] == [expected] * len(statuses)


def served(pace: RatePace, count: int, start_s: float) -> float:
    """So many requests answered at the pace's own rate; the time afterwards."""
    now_s = start_s
    for _ in range(count):
        now_s += 1 / pace.rate
        pace.accepted(now_s, pace.rate)
    return now_s


def refused(pace: RatePace, now_s: float) -> None:
    """A request refused at the pace's own rate."""
    pace.refused(now_s, pace.rate, now_s)


class TestRate:
    """Requests per second."""

    def test_the_first_refusal_halves(self):
        """Half of what was really sent is the first guess; before it nothing is held."""
        pace = RatePace(1000.0)
        served(pace, 100, 0.0)
        assert (pace.rate, pace.is_free) == (1000.0, True)
        pace.refused(1.0, 40.0, 1.0)
        assert (pace.rate, pace.is_free) == (20.0, False)

    def test_what_was_accepted_between_two_refusals(self):
        """At the second refusal the server is known: it goes on with 95 % of what it accepted."""
        pace = RatePace(100.0)
        refused(pace, 1000.0)
        for number in range(1, 401):
            pace.accepted(1000.0 + number / 45, 50.0)  # 45 a second
        pace.refused(1000.0 + 400 / 45, 50.0, 1000.0 + 400 / 45)
        assert math.isclose(pace.rate, 0.95 * 45, rel_tol=0.01)

    def test_refusals_upon_refusals(self):
        """As long as nothing comes through the rate is halved, down to one a second."""
        pace = RatePace(64.0)
        rates = []
        for number in range(8):
            refused(pace, float(number))
            rates.append(pace.rate)
        assert rates == [32.0, 16.0, 8.0, 4.0, 2.0, RATE_MIN, RATE_MIN, RATE_MIN]

    def test_it_comes_back_in_seconds_and_then_creeps_to_the_ceiling(self):
        """After the first halving it is back at 71 % in seconds; in time it is the ceiling."""
        pace = RatePace(100.0)
        refused(pace, 0.0)
        now_s = served(pace, 200, 0.0)
        assert now_s < 4
        assert math.isclose(pace.rate, 100 * 0.95 * 0.75, rel_tol=0.02)
        now_s = served(pace, 100, now_s)
        assert pace.rate < 1.05 * 100 * 0.95 * 0.75
        served(pace, 20_000, now_s)
        assert pace.rate == 100.0

    @given(
        st.floats(0.1, 1e4),
        st.lists(st.tuples(st.floats(0, 10), st.booleans(), st.floats(0.01, 1e4)), max_size=50),
    )
    def test_it_stays_within_its_limits(self, ceiling, events):
        """Whatever happens, the rate is between the floor and the ceiling."""
        pace, now_s = RatePace(ceiling), 0.0
        for gap_s, is_refused, sent_per_s in events:
            now_s += gap_s
            if is_refused:
                pace.refused(now_s, sent_per_s, now_s)
            else:
                pace.accepted(now_s, sent_per_s)
            assert min(RATE_MIN, ceiling) <= pace.rate <= ceiling


class TestConcurrency:
    """Requests under way."""

    def test_half_of_what_was_under_way(self):
        """A push-back leaves half of the requests that were under way, and one at least."""
        pace = ConcurrencyPace(16)
        pace.cut(9)
        assert pace.limit == 4.0
        for _ in range(3):
            pace.cut(9)
        assert pace.limit == 1.0

    def test_one_more_after_two_rounds(self):
        """Four at once: after eight successes five, then ten more for the sixth."""
        pace = ConcurrencyPace(16)
        pace.cut(8)
        limits = []
        for _ in range(18):
            pace.grow(4)
            limits.append(pace.limit)
        assert limits == [4.0] * 7 + [5.0] * 10 + [6.0]

    def test_up_to_the_ceiling_if_it_is_used_and_answers_are_not_slow(self):
        """Two under way say nothing about five; half a second more than usual stops growth."""
        used, idle, slow = (ConcurrencyPace(6) for _ in range(3))
        slow.usual_s, slow.recent_s = 0.05, 1.0
        for pace, under_way in ((used, 6), (idle, 1), (slow, 6)):
            pace.cut(6)
            for _ in range(100):
                pace.grow(under_way)
        assert (used.limit, idle.limit, slow.limit) == (6.0, 3.0, 3.0)


def test_cuts_that_had_another_reason_are_taken_back():
    """All at once."""
    rate, concurrency = RatePace(100.0), ConcurrencyPace(16)
    for now_s in (1.0, 2.0):
        rate.refused(now_s, math.inf, now_s)
        concurrency.cut(16)
    assert (rate.rate, concurrency.limit) == (25.0, 4.0)
    rate.take_back_cuts()
    concurrency.take_back_cuts()
    assert (rate.rate, concurrency.limit) == (100.0, 16)
