"""One rule for small numbers: of few persons, or rounded to five."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.display import SmallNumbers

pytestmark = pytest.mark.promise("8")


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, 0), (1, None), (4, None), (5, 5), (7, 5), (8, 10), (12, 10), (13, 15), (1_003, 1_005)],
)
def test_counts_of_few_persons_are_not_shown_and_others_are_rounded(count, shown):
    """Zero is zero, below the limit there is no number, and above it only fives."""
    assert SmallNumbers().shown(count) == shown


def test_many_restrictions_of_few_persons_are_few():
    """The persons behind a count decide, where it says how many they are at least."""
    small = SmallNumbers()
    assert small.shown(80, 4) is None
    assert small.shown(81, 5) == 80
    assert small.shown(3, 80) is None


@given(count=st.integers(1, 10_000), least=st.sampled_from([3, 5, 10]))
def test_what_is_shown_fits_several_counts(count, least):
    """Nothing but 0 is shown so that it can be one count alone."""
    small = SmallNumbers(least)
    near = range(max(count - 10, 1), count + 11)
    assert len([one for one in near if small.shown(one) == small.shown(count)]) > 1


def test_exact_numbers_on_request():
    """A limit of 0 hides and rounds nothing."""
    small = SmallNumbers(0)
    assert [small.shown(count, 1) for count in (0, 1, 7, 1_003)] == [0, 1, 7, 1_003]
