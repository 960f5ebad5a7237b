"""Synthetic persons."""

from worker.sandbox.people import population


def _rests(off_id: str) -> tuple[int, int]:
    """The two sums that must be 0 modulo 11 (Skatteetaten, nyttfnr2032.md)."""
    digits = [int(d) for d in off_id]
    first = sum(w * d for w, d in zip((3, 7, 6, 1, 8, 9, 4, 5, 2, 1), digits, strict=False))
    second = sum(w * d for w, d in zip((5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), digits, strict=False))
    return first % 11, second % 11


def test_every_identifier_is_synthetic_and_valid():
    """20,000 identifiers, none with a real month, both control digits right; some D-numbers."""
    off_ids = [*population(1, 20_000)]
    assert {int(off_id[2:4]) for off_id in off_ids} == {*range(81, 93), *range(66, 78)}
    assert {_rests(off_id) for off_id in off_ids} == {(0, 0)}
    assert len(set(off_ids)) == 20_000
    assert 0 < sum(off_id[0] >= "4" for off_id in off_ids) < 2_000
    assert population(1, 20_000)[off_ids[7]] == 7
