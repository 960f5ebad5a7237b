"""What answers teach about the rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.pacing import (
    PROVEN_ANSWERS,
    PROVEN_FOR,
    RATE_MIN,
    Pressure,
    RatePace,
    pressure_of,
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (429, Pressure.REFUSAL),
        (503, Pressure.REFUSAL),
        (None, Pressure.LOAD),
        (408, Pressure.LOAD),
        (502, Pressure.LOAD),
        (504, Pressure.LOAD),
        (500, Pressure.NONE),
        (425, Pressure.NONE),
        (507, Pressure.NONE),
    ],
)
def test_what_a_failure_says_about_the_load(status, expected):
    """A 500 is the request's own affair; 429 and 503 are ours."""
    assert expected is pressure_of(status)


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


def lowered(answers: int) -> tuple[RatePace, float]:
    """A pace that so many answers proved, and that two refusals in a row then lowered; the time."""
    pace = RatePace(100.0)
    refused(pace, 0.0)
    now_s = served(pace, answers, 0.0)
    for _ in range(2):
        refused(pace, now_s)
        now_s = served(pace, 1, now_s)
    return pace, now_s


class TestRate:
    """Requests per second."""

    def test_nothing_is_held_before_a_refusal(self):
        """Successes alone leave the rate at its ceiling, and teach nothing."""
        pace = RatePace(20.0)
        served(pace, 100, 0.0)
        assert (pace.rate, pace.is_free) == (20.0, True)

    def test_the_first_refusal_halves(self):
        """Half of what was really sent is the first guess, not half of the ceiling."""
        pace = RatePace(1000.0)
        pace.refused(1.0, 40.0, 1.0)
        assert (pace.rate, pace.is_free) == (20.0, False)

    def test_without_a_ceiling(self):
        """A refusal gives a rate even if there was none and nothing has been measured."""
        pace = RatePace(math.inf)
        pace.refused(0.0, math.inf, 0.0)
        assert pace.rate == 500.0

    def test_what_was_accepted_between_two_refusals(self):
        """At the second refusal the server is known: it goes on with 95 % of what it accepted."""
        pace = RatePace(100.0)
        refused(pace, 1000.0)
        for number in range(1, 401):
            pace.accepted(1000.0 + number / 45, 50.0)  # 45 a second
        pace.refused(1000.0 + 400 / 45, 50.0, 1000.0 + 400 / 45)
        assert math.isclose(0.95 * 45, pace.rate, rel_tol=0.01)

    def test_a_measurement_far_below_the_rate_is_not_believed(self):
        """One a second was accepted where fifty were allowed: nothing like fifty was tried."""
        pace = RatePace(100.0)
        refused(pace, 1000.0)
        for number in range(1, 26):
            pace.accepted(1000.0 + number, 1.0)
        pace.refused(1025.0, 50.0, 1025.0)
        assert math.isclose(0.7 * 50.0, pace.rate)

    def test_refusals_upon_refusals(self):
        """As long as nothing comes through the rate is halved, down to one a second."""
        pace = RatePace(64.0)
        rates = []
        for number in range(8):
            refused(pace, float(number))
            rates.append(pace.rate)
        assert rates == [32.0, 16.0, 8.0, 4.0, 2.0, RATE_MIN, RATE_MIN, RATE_MIN]

    def test_a_ceiling_below_the_floor(self):
        """A ceiling below one a second holds."""
        pace = RatePace(0.2)
        refused(pace, 0.0)
        assert pace.rate == 0.2

    def test_three_of_four(self):
        """Three answers before the next refusal are a share: three quarters, less the margin."""
        pace = RatePace(64.0)
        refused(pace, 0.0)
        for _ in range(3):
            pace.accepted(0.0, 0.0)
        refused(pace, 0.1)
        assert math.isclose(32 * 0.95 * 3 / 4, pace.rate)

    def test_back_from_a_deep_cut(self):
        """After the first halving the rate is back at 71 % in seconds, and then creeps."""
        pace = RatePace(100.0)
        refused(pace, 0.0)
        now_s = served(pace, 200, 0.0)
        assert now_s < 4
        assert math.isclose(100 * 0.95 * 0.75, pace.rate, rel_tol=0.02)
        served(pace, 100, now_s)
        assert pace.rate < 1.05 * 100 * 0.95 * 0.75

    def test_each_answer_and_each_second_return_only_so_much(self):
        """A fifth a second, and a tenth an answer: one late answer is no proof of a high rate."""
        pace = RatePace(100.0)
        refused(pace, 1000.0)
        pace.accepted(1000.1, pace.rate)
        assert math.isclose(50.0 * 1.02, pace.rate)
        pace.accepted(1010.1, pace.rate)
        assert math.isclose(50.0 * 1.02 * 1.10, pace.rate)

    def test_it_creeps_by_answers_and_by_seconds(self):
        """0.02 % an answer or 0.2 % a second, whichever is less; twice that after 100 and 30 s."""
        for gap_s, growth in ((1.0, 2e-4 * 2), (1e-5, 2e-3 * 1e-5 * 2)):
            pace = RatePace(1000.0)
            pace.refused(1000.0, 100.0, 1000.0)
            now_s = 1000.0
            for _ in range(99):
                now_s += 30.0 / 99
                pace.accepted(now_s, pace.rate)
            before = pace.rate
            pace.accepted(now_s + gap_s, pace.rate)
            assert before > 71.25  # the goal of the return: 0.95 * (50 + 100) / 2
            assert math.isclose(growth, pace.rate / before - 1, rel_tol=0.05)

    def test_it_creeps_back_to_the_ceiling(self):
        """In time the rate is its ceiling again, and no more."""
        pace = RatePace(100.0)
        refused(pace, 0.0)
        served(pace, 20_000, 0.0)
        assert pace.rate == 100.0

    def test_a_rate_that_is_not_used_does_not_grow(self):
        """Who sends half of what it may learns nothing about the other half."""
        pace = RatePace(100.0)
        refused(pace, 0.0)
        for number in range(1000):
            pace.accepted(number / 20, 20.0)
        assert pace.rate == 50.0

    def test_an_old_refusal_changes_nothing(self):
        """What was sent before the last cut was sent at another rate."""
        pace = RatePace(100.0)
        refused(pace, 0.0)
        pace.refused(0.01, 50.0, 0.01, is_recent=False)
        assert pace.rate == 50.0

    def test_refusals_at_a_rate_that_was_free_of_them(self):
        """A lone refusal far below a proven rate has other reasons: the rate returns there."""
        before = RatePace(100.0)
        refused(before, 0.0)
        served(before, 60, 0.0)
        proven = before.rate
        pace, now_s = lowered(60)
        low = pace.rate
        assert low < 0.7 * proven
        refused(pace, now_s)
        assert low == pace.rate
        served(pace, 250, now_s)
        assert pace.rate >= 0.95 * proven

    @pytest.mark.parametrize(
        ("answers", "is_proven"), [(PROVEN_ANSWERS - 1, False), (PROVEN_ANSWERS, True)]
    )
    def test_a_proof_needs_answers(self, answers, is_proven):
        """A rate that was free of refusals for a few answers only is no proof."""
        pace, now_s = lowered(answers)
        low = pace.rate
        refused(pace, now_s)
        assert is_proven == (low == pace.rate)

    @pytest.mark.parametrize(
        ("refusals", "counts"), [(PROVEN_FOR - 4, True), (PROVEN_FOR - 3, False)]
    )
    def test_a_proof_grows_old(self, refusals, counts):
        """Two refusals lowered the rate; after twenty in all the proof is one of another time."""
        pace, now_s = lowered(60)
        low = pace.rate
        for _ in range(refusals):
            pace.refused(now_s, pace.rate, now_s, is_recent=False)
            for _ in range(12):
                pace.accepted(now_s, 0.0)
        refused(pace, now_s)
        assert counts == (low == pace.rate)

    @pytest.mark.parametrize(("answers", "is_ours"), [(0, True), (1, True), (12, False)])
    def test_many_refusals_are_ours_after_all(self, answers, is_ours):
        """One of two refused is load, whatever was proven; one of thirteen has other reasons."""
        pace, now_s = lowered(60)
        low = pace.rate
        for _ in range(12):
            pace.refused(now_s, pace.rate, now_s, is_recent=False)
            for _ in range(answers):
                pace.accepted(now_s, 0.0)
        refused(pace, now_s)
        assert is_ours == (pace.rate < low)

    def test_a_pause_is_no_time_to_grow(self):
        """Growth begins when sending does, after Retry-After."""
        pace = RatePace(100.0)
        pace.refused(0.0, 100.0, 60.0)
        pace.accepted(1.0, 50.0)
        assert pace.rate == 50.0

    def test_another_ceiling(self):
        """A new ceiling frees a rate that only the old one held, and no other."""
        pace = RatePace(10.0)
        pace.set_ceiling(20.0)
        assert pace.rate == 20.0
        refused(pace, 0.0)
        pace.set_ceiling(40.0)
        assert pace.rate == 10.0
        pace.set_ceiling(4.0)
        assert pace.rate == 4.0

    @given(
        st.floats(0.1, 1e4),
        st.lists(st.tuples(st.floats(0, 10), st.booleans(), st.floats(0.01, 1e4)), max_size=200),
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
