"""What all retries together may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.retry import RetryBudget


def taken(budget: RetryBudget, now_s: float, wanted: int) -> int:
    """How many of the wanted retries are granted at that moment."""
    return sum(budget.take(now_s) for _ in range(wanted))


def test_a_few_are_always_there():
    """A run may begin badly: the spare retries need no request before them."""
    assert taken(RetryBudget(spare=30), 0.0, 100) == 30


def test_a_tenth_of_the_requests():
    """A hundred requests allow ten retries more."""
    budget = RetryBudget(spare=30)
    for _ in range(100):
        budget.request(5.0)
    assert taken(budget, 5.0, 100) == 40  # 30 + 100 / 10


@pytest.mark.promise("7")
def test_the_window_slides():
    """What was spent comes back after a minute, and so does what was earned."""
    budget = RetryBudget(spare=30)
    for _ in range(100):
        budget.request(0.0)
    assert taken(budget, 1.0, 100) == 40
    assert taken(budget, 49.0, 100) == 0
    assert taken(budget, 61.0, 100) == 30


def test_the_window_does_not_slide_faster_when_looked_at():
    """Asking often grants no more than asking once."""
    budget = RetryBudget(spare=30)
    assert taken(budget, 1.0, 100) == 30
    assert [taken(budget, now_s, 100) for now_s in (11.5, 22.0, 32.5, 43.0, 53.5)] == [0] * 5
    assert taken(budget, 64.0, 100) == 30


def test_time_alone_earns_nothing():
    """Without spare retries and without requests there is none to spend, however late."""
    budget = RetryBudget(spare=0, share=1.0)
    assert [taken(budget, now_s, 5) for now_s in (0.0, 30.0, 60.0, 600.0)] == [0] * 4


def test_a_long_silence():
    """After an hour without a request the budget is as new."""
    budget = RetryBudget(spare=30)
    assert taken(budget, 0.0, 100) == 30
    assert taken(budget, 3600.0, 100) == 30
    assert taken(budget, 3601.0, 100) == 0


def test_only_the_share():
    """Without spare retries the first request allows none, and the tenth one."""
    budget = RetryBudget(spare=0)
    for _ in range(9):
        budget.request(0.0)
    assert taken(budget, 0.0, 5) == 0
    budget.request(0.0)
    assert taken(budget, 0.0, 5) == 1


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=300))
def test_no_minute_has_more(steps):
    """Whatever comes, no stretch of a minute has more retries than its share and the spare ones.

    Requests count for a sixth of a minute less than a whole minute at worst, so the stretch of
    requests is taken a window wide around the stretch of retries.
    """
    budget, now_s = RetryBudget(spare=3), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for gap_s, is_retry in steps:
        now_s += gap_s
        if not is_retry:
            budget.request(now_s)
            requests.append(now_s)
        elif budget.take(now_s):
            retries.append(now_s)
    for end_s in retries:
        start_s = end_s - 50.0
        spent = sum(start_s < at_s <= end_s for at_s in retries)
        earned = sum(end_s - 60.0 <= at_s <= end_s for at_s in requests)
        assert spent <= 3 + 0.1 * earned
