"""The sample, the comparison and the confidence interval behind ``verify``."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.core.agreement import Difference, Interval, Sample, compare, wilson

A, B = b"a" * 16, b"b" * 16


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (200, 200, 0.9812, 1.0),
        (0, 200, 0.0, 0.0188),
        (190, 200, 0.9104, 0.9726),
        (1, 1, 0.2065, 1.0),
        (5, 10, 0.2366, 0.7634),
    ],
)
def test_wilson_gives_the_known_bounds(successes, trials, low, high):
    """The bounds are those that statistical packages give (R's prop.test without correction)."""
    found = wilson(successes, trials)
    assert found is not None
    assert successes / trials == found.share
    assert (low, high) == (round(found.low, 4), round(found.high, 4))


@settings(deadline=None)
@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_mirrors(counts):
    """The share lies within the bounds, the bounds within 0 and 1, and failures mirror them."""
    successes, trials = counts
    found, mirrored = wilson(successes, trials), wilson(trials - successes, trials)
    assert isinstance(found, Interval)
    assert isinstance(mirrored, Interval)
    assert 0.0 <= found.low <= found.share <= found.high <= 1.0
    assert pytest.approx(1.0 - mirrored.low) == found.high


@pytest.mark.parametrize("trials", [1, 7, 200, 12_345])
def test_the_bounds_are_exact_at_the_ends(trials):
    """Nobody reads 99.99999 % where everything agreed."""
    none, every = wilson(0, trials), wilson(trials, trials)
    assert none is not None
    assert every is not None
    assert (none.low, every.high) == (0.0, 1.0)


def test_nothing_tried_is_nothing_known():
    """Without a trial there is no share; impossible counts are a bug."""
    assert wilson(0, 0) is None
    for successes, trials in ((2, 1), (-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="successes of"):
            wilson(successes, trials)


@pytest.mark.parametrize(
    ("published", "read", "expected"),
    [
        ({}, {}, {}),
        ({"x": A}, {"x": A}, {}),
        ({"x": A}, {"x": B}, {Difference.CHANGED: 1}),
        ({}, {"x": A, "y": B}, {Difference.MISSING_HERE: 2}),
        ({"x": A, "y": A}, {"x": A}, {Difference.GONE_THERE: 1}),
        (
            {"x": A, "y": A, "z": A},
            {"x": B, "w": A, "z": A},
            {Difference.CHANGED: 1, Difference.GONE_THERE: 1, Difference.MISSING_HERE: 1},
        ),
        (None, {}, {Difference.NOT_IN_STORE: 1}),
        (None, {"x": A}, {Difference.NOT_IN_STORE: 1}),
    ],
)
def test_compare_names_each_difference(published, read, expected):
    """Each restriction that differs is counted in one kind; without a state there is one."""
    assert Counter(expected) == compare(published, read)


def chosen(names, size, seed="seed"):
    sample: Sample[str] = Sample(size, seed)
    for name in names:
        sample.offer(name, name.upper())
    return sample.chosen()


def test_a_small_stream_is_taken_completely():
    """Fewer names than places: everyone is chosen, once, however often they come."""
    assert set(chosen("abcabca", 5)) == {"A", "B", "C"}
    assert len(chosen("abcabca", 5)) == 3
    assert chosen("", 5) == ()
    assert chosen("abc", 0) == ()


def test_what_is_sampled_need_not_be_sorted():
    """The sample's order comes from the names' tags; the things themselves are not compared."""
    things = {name: object() for name in "abcdefgh"}
    sample: Sample[object] = Sample(8, "seed")
    for name, thing in things.items():
        sample.offer(name, thing)
    assert set(things.values()) == set(sample.chosen())


@settings(deadline=None)
@given(st.lists(st.text("abcdefgh", min_size=1, max_size=2)), st.integers(0, 8), st.randoms())
def test_order_and_repetition_make_no_difference(names, size, shuffler):
    """The sample depends on which names there are, and on the seed, on nothing else."""
    again = names + names
    shuffler.shuffle(again)
    assert chosen(names, size) == chosen(again, size)
    assert min(size, len(set(names))) == len(chosen(names, size))


def test_everyone_is_as_likely_as_everyone_else():
    """Over many seeds each of 20 names is chosen a quarter of the time, one listed twice too."""
    names = [f"n{number}" for number in range(20)]
    rounds = 2_000
    counts = Counter(
        one for seed in range(rounds) for one in chosen([*names, "n0"], 5, seed=f"s{seed}")
    )
    expected = rounds / 4
    chi_square = sum((counts[name.upper()] - expected) ** 2 / expected for name in names)
    assert chi_square < 43.8  # the 99.9 % quantile with 19 degrees of freedom
