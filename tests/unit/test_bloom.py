"""Nobody is forgotten, and strangers are seldom taken for members."""

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


def test_strangers_are_seldom_taken_for_members():
    """At 50,000 some few in all, whether keys are identifiers in order or pseudonyms."""
    for form in ("{:011d}", "{:064x}"):
        seen = BloomFilter()
        wrong = sum(seen.add(form.format(number)) for number in range(50_000))
        assert wrong < 15
