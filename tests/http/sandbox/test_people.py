"""Synthetic persons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sandbox.people import CAPACITY, Population, is_synthetic, roster

SEEDS = st.integers(min_value=0, max_value=10_000)


def _rests(off_id: str) -> tuple[int, int]:
    """The two sums that must be 0 modulo 11 (Skatteetaten, nyttfnr2032.md)."""
    digits = [int(d) for d in off_id]
    first = sum(w * d for w, d in zip((3, 7, 6, 1, 8, 9, 4, 5, 2, 1), digits, strict=False))
    second = sum(w * d for w, d in zip((5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), digits, strict=False))
    return first % 11, second % 11


@given(seed=SEEDS, start=st.integers(min_value=0, max_value=CAPACITY - 10))
def test_every_identifier_is_synthetic_valid_and_found_again(seed: int, start: int):
    """No identifier has a real month; both control digits are right; its index is found again."""
    people = Population(seed, start + 10)
    for index in range(start, start + 10):
        off_id = people.off_id(index)
        assert int(off_id[2:4]) in {*range(81, 93), *range(66, 78)}
        assert _rests(off_id) == (0, 0)
        assert people.index(off_id) == index


def test_identifiers_are_unique_and_of_both_kinds():
    """20,000 lines hold 20,000 identifiers, with month +80 and +65, and some D-numbers."""
    off_ids = [off_id for off_id, _ in roster(1, 20_000)]
    assert len(set(off_ids)) == 20_000
    nhn = sum(int(o[2:4]) < 78 for o in off_ids)
    assert 9_000 < nhn < 11_000
    movers = sum(map(Population(1, 20_000).is_mover, range(20_000)))
    assert 0 < movers == 2 * sum(o[0] >= "4" for o in off_ids)


@pytest.mark.parametrize("day", ["01", "41"])
def test_real_months_are_not_synthetic(day: str):
    """The twelve real months are distinguished from the shifted ones, with a D-number's day too."""
    months = {month for month in range(100) if is_synthetic(f"{day}{month:02d}9012345")}
    assert months == {*range(66, 78), *range(81, 93)}
