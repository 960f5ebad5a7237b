"""What all retries together may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.retry import RetryBudget

pytestmark = pytest.mark.promise("7")


def taken(budget: RetryBudget, now_s: float, wanted: int) -> int:
    """How many of the wanted retries are granted at that moment."""
    return sum(budget.take(now_s) for _ in range(wanted))


def test_a_few_and_a_tenth_of_the_requests_in_a_window_that_slides():
    """What was spent comes back after a minute, and so does what was earned."""
    budget = RetryBudget(spare=30)
    for _ in range(100):
        budget.request(0.0)
    assert taken(budget, 1.0, 100) == 40  # 30 + 100 / 10
    assert [taken(budget, now_s, 100) for now_s in (11.5, 22.0, 32.5, 43.0, 49.0)] == [0] * 5
    assert taken(budget, 61.0, 100) == 30
    assert taken(budget, 3600.0, 100) == 30, "after an hour of silence it is as new"


def test_only_the_share():
    """Without spare retries the first request allows none, the tenth one; time alone none."""
    budget = RetryBudget(spare=0)
    for _ in range(9):
        budget.request(0.0)
    assert taken(budget, 0.0, 5) == 0
    budget.request(0.0)
    assert taken(budget, 0.0, 5) == 1
    assert [taken(budget, now_s, 5) for now_s in (30.0, 60.0, 600.0)] == [0] * 3


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=150))
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
