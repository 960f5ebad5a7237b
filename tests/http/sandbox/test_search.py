"""The searches of the stand-in for PTS: its persons, and places in pages that were not offered.

``test_contract`` walks to the end of each paged answer.
"""

import pytest

from tests.support.sandbox_caller import OFF_IDS, Caller, calling
from worker.sandbox.people import population

ORDINARY = "12057900499"  # published by NHN for test; nothing in it shows that (reference, 5)


@pytest.mark.parametrize("off_id", [ORDINARY, "52057900499", "81234567890", "99999999999"])
def test_persons_who_may_be_real_are_refused(signed_in: Caller, off_id: str):
    """An ordinary month is 400, and the answer does not echo the identifier."""
    answer = signed_in.search(off_id)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert off_id not in answer.text


def test_the_same_seed_is_the_same_world(signed_in: Caller):
    """Another sandbox with the same seed answers with the same bytes, with another it does not."""
    ours = [signed_in.search(o).content for o in OFF_IDS[:20]]
    with calling(seed=1) as same, calling(seed=2) as different:
        same.sign_in()
        different.sign_in()
        assert [same.search(o).content for o in OFF_IDS[:20]] == ours
        assert {different.search(o).content for o in OFF_IDS[:20]} == {b"[]"}


def _rests(off_id: str) -> tuple[int, int]:
    """The two sums that must be 0 modulo 11 (Skatteetaten, nyttfnr2032.md)."""
    digits = [int(d) for d in off_id]
    first = sum(w * d for w, d in zip((3, 7, 6, 1, 8, 9, 4, 5, 2, 1), digits, strict=False))
    second = sum(w * d for w, d in zip((5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), digits, strict=False))
    return first % 11, second % 11


def test_every_identifier_is_synthetic_and_valid():
    """20,000 identifiers, none with a real month, both check digits right; some D-numbers."""
    off_ids = [*population(1, 20_000)]
    assert {int(off_id[2:4]) for off_id in off_ids} == {*range(81, 93), *range(66, 78)}
    assert {_rests(off_id) for off_id in off_ids} == {(0, 0)}
    assert len(set(off_ids)) == 20_000
    assert 0 < sum(off_id[0] >= "4" for off_id in off_ids) < 2_000
    assert population(1, 20_000)[off_ids[7]] == 7
