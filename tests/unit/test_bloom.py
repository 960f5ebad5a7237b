"""Nobody is forgotten, and strangers are seldom taken for members."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bloom import BloomFilter


@given(st.lists(st.text()))
def test_nobody_is_forgotten(keys):
    """Whatever was added is there, whatever came after it."""
    seen = BloomFilter()
    for key in keys:
        seen.add(key)
    assert all(seen.add(key) for key in keys)


def test_the_first_is_new():
    """An empty filter knows nobody, and after one it knows that one alone."""
    seen = BloomFilter()
    assert not seen.add("a")
    assert seen.add("a")
    assert not seen.add("b")


@pytest.mark.parametrize("form", ["{:011d}", "{:064x}"])
def test_many(form):
    """Of 50,000 identifiers in order, or pseudonyms, none is forgotten and some few seem known."""
    seen = BloomFilter()
    keys = [form.format(number) for number in range(50_000)]
    assert sum(seen.add(key) for key in keys) <= 5
    assert all(seen.add(key) for key in keys)
