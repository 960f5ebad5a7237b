"""The sample, the comparison and the confidence interval behind ``verify``."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.agreement import Difference, Sample, compare, wilson

A, B = b"a" * 16, b"b" * 16


def test_wilson_gives_the_known_bounds():
    """The bounds are those that statistical packages give (R's prop.test without correction)."""
    found = wilson(190, 200)
    assert found is not None
    assert (found.share, round(found.low, 4), round(found.high, 4)) == (0.95, 0.9104, 0.9726)
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    ("published", "read", "expected"),
    [
        ({"x": A}, {"x": A}, {}),
        (
            {"x": A, "y": A, "z": A},
            {"x": B, "w": A, "z": A},
            {Difference.CHANGED: 1, Difference.GONE_THERE: 1, Difference.MISSING_HERE: 1},
        ),
        (None, {"x": A}, {Difference.NOT_IN_STORE: 1}),
    ],
)
def test_compare_names_each_difference(published, read, expected):
    """Each restriction that differs is counted in one kind; without a state there is one."""
    assert compare(published, read) == Counter(expected)


def chosen(names, size):
    sample: Sample[str] = Sample(size, "seed")
    for name in names:
        sample.offer(name, name.upper())
    return sample.chosen()


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=2)), st.integers(0, 8), st.randoms())
def test_order_and_repetition_make_no_difference(names, size, shuffler):
    """The sample depends on which names there are, and on the seed, on nothing else."""
    again = names + names
    shuffler.shuffle(again)
    assert chosen(names, size) == chosen(again, size)
    assert len(chosen(names, size)) == min(size, len(set(names)))
