"""The pace of requests: what may be sent when, and which answers change it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pts.throttle import CLEAN_S, MANY, OF_REFUSALS, OF_WAITS, Pace

pytestmark = pytest.mark.promise("7")


def answer_all(
    pace: Pace, now_s: float, *statuses: int, first: int = 0, asked_s: float = 0.0
) -> None:
    """Answers to as many different persons, whose requests went together."""
    numbers = [pace.send(now_s) for _ in statuses]
    for place, (number, status) in enumerate(zip(numbers, statuses, strict=True)):
        pace.answered(number, str(first + place), now_s, status=status, retry_after_s=asked_s)


@given(rate=st.floats(0.5, 500), gaps=st.lists(st.floats(0, 0.5), min_size=2, max_size=40))
def test_the_ceiling_holds_in_every_second(rate, gaps):
    """However requests come, no second sees more than the rate and the burst of 5 % of it."""
    pace, now_s, moments = Pace(rate, 1), 0.0, []
    for gap_s in gaps:
        now_s += gap_s
        now_s += max(0.0, pace.wait_s(now_s))
        pace.send(now_s)
        moments.append(now_s)
    allowed = rate + max(1.0, 0.05 * rate) + 1e-6
    for moment in moments:
        assert sum(moment <= other < moment + 1.0 - 1e-6 for other in moments) <= allowed


def test_a_turn_that_is_given_back():
    """Another request may have it at once, and one only."""
    pace = Pace(10.0, 16)
    pace.send(1.0)
    pace.give_back()
    assert pace.wait_s(1.0) <= 0.0
    pace.send(1.0)
    assert pace.wait_s(1.0) == pytest.approx(0.1)


@pytest.mark.parametrize("status", [429, 503])
def test_refusals_halve_the_pace_once_in_a_round_trip(status):
    """However many were under way; half a minute without another gives half as much again."""
    pace = Pace(100.0, 16)
    answer_all(pace, 1.0, *[status] * 16)
    assert (pace.rate, pace.limit, pace.least) == (50.0, 8, 0.5)
    for step, rate in enumerate((75.0, 100.0, 100.0)):
        answer_all(pace, 1.0 + (step + 0.9) * CLEAN_S, 200)
        assert pace.rate < rate or step == 2
        answer_all(pace, 1.0 + (step + 1) * CLEAN_S, 200)
        assert (pace.rate, pace.limit) == (rate, int(16 * rate / 100))


def test_the_pace_has_a_floor():
    """Nobody who refuses everything brings it to a halt, and a ceiling below it is kept."""
    for ceiling, floor in ((100.0, 1.0), (0.5, 0.5)):
        pace = Pace(ceiling, 16)
        for night in range(20):
            answer_all(pace, float(night), *[503] * MANY, first=night * MANY)
        assert (pace.rate, pace.limit >= 1) == (floor, True)


@pytest.mark.parametrize(
    "statuses",
    [[500] * 30, [502, 504, 408] * 10, [429, 503, *[200] * OF_REFUSALS] * 3],
    ids=["500", "gateway", "two of thirty"],
)
def test_what_says_nothing_of_the_load(statuses):
    """Errors of PTS, and refusals of a few persons, leave the pace as it is."""
    pace = Pace(100.0, 16)
    for person, status in enumerate(statuses):
        answer_all(pace, person / 100, status, first=person)
    assert (pace.rate, pace.limit, pace.least) == (100.0, 16, 1.0)


def test_persons_who_are_refused_again():
    """They may be refused for ever: only others slow it down further."""
    pace = Pace(100.0, 16)
    for turn in range(9):
        answer_all(pace, float(turn), *[200] * OF_REFUSALS, *[503] * 8)
    assert pace.rate == 50.0
    answer_all(pace, 10.0, *[503] * 8, first=100)
    assert pace.rate == 25.0


@pytest.mark.promise("6")
@pytest.mark.parametrize(
    ("persons", "paused_until_s"),
    [
        ("abc", 1.0 + 40),
        ("aba", None),
        ("ab" + OF_WAITS * "." + "c", None),
        ("a" + 7 * "." + "bc", 41),
    ],
)
def test_retry_after_of_everybody(persons, paused_until_s):
    """Three of the last ten answers, to different persons, hold back all; fewer nobody."""
    pace = Pace(1e6, 16)
    for place, person in enumerate(persons):
        is_good = person == "."
        number = pace.send(1.0)
        pace.answered(
            number,
            f"good {place}" if is_good else person,
            1.0,
            status=200 if is_good else 500,
            retry_after_s=0.0 if is_good else 40.0,
        )
    assert round(pace.wait_s(1.0)) == (0 if paused_until_s is None else paused_until_s - 1)


def test_a_longer_pause_of_one_who_was_under_way():
    """It is kept as well; a shorter one changes nothing."""
    pace = Pace(100.0, 16)
    answer_all(pace, 1.0, 503, 503, 503, asked_s=40.0)
    for asked_s in (60.0, 10.0):
        pace.answered(1, "0", 2.0, status=503, retry_after_s=asked_s)
    assert pace.paused_until_s == 62.0


def test_while_it_is_held():
    """One request in so many seconds, counted from the last one; then the usual pace."""
    pace = Pace(100.0, 16)
    pace.send(5.0)
    pace.held_s = 10.0
    assert pace.wait_s(6.0) == 9.0
    assert pace.wait_s(6.0, is_next=True) <= 0.0, "it has waited already"
    pace.send(15.0)
    assert pace.wait_s(15.0) == 10.0
    pace.held_s = 0.0
    assert pace.wait_s(15.0) <= 0.0
