"""What all retries together may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.retry import RETRIES_SHARE, RETRIES_SPARE, RetryBudget

pytestmark = pytest.mark.promise("7")


@given(st.lists(st.booleans(), max_size=600))
def test_a_few_and_a_tenth_of_the_requests(steps):
    """Whatever comes; and nobody saves up more than the few."""
    budget, requests, retries = RetryBudget(), 0, 0
    for is_retry in steps:
        if is_retry:
            retries += budget.take()
        else:
            budget.request()
            requests += 1
        assert retries <= RETRIES_SPARE + RETRIES_SHARE * requests
    assert sum(budget.take() for _ in range(100)) <= RETRIES_SPARE
