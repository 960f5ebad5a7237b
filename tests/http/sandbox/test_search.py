"""The searches of the stand-in for PTS: its persons, and places in pages that were not offered.

``test_contract`` walks to the end of each paged answer.
"""

from typing import Any

import pytest

from tests.support.contracts import PAGED, contract
from tests.support.sandbox_caller import OFF_IDS, Caller, calling, richest
from worker.sandbox.people import population
from worker.sandbox.serve import RunningSandbox

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
    """20,000 identifiers, none with a real month, both control digits right; some D-numbers."""
    off_ids = [*population(1, 20_000)]
    assert {int(off_id[2:4]) for off_id in off_ids} == {*range(81, 93), *range(66, 78)}
    assert {_rests(off_id) for off_id in off_ids} == {(0, 0)}
    assert len(set(off_ids)) == 20_000
    assert 0 < sum(off_id[0] >= "4" for off_id in off_ids) < 2_000
    assert population(1, 20_000)[off_ids[7]] == 7


def test_a_continuation_that_no_contract_has(sandbox: RunningSandbox, signed_in: Caller):
    """Fields stand around the records that speak of more; a bare list becomes an object."""
    sandbox.control(faults=[{"action": "unknown_continuation"}])
    assert signed_in.search(OFF_IDS[0]).json().keys() == {"items", "hasMore", "scrollId"}
    sandbox.control(contract=contract(records="data.list"))
    assert signed_in.search(OFF_IDS[0]).json().keys() == {"data", "hasMore", "scrollId"}


MADE_UP: dict[str, tuple[dict[str, Any], str, str]] = {
    "link": ({}, "?cursor=bm9uZQ", "cursor"),
    "token": ({"after": "a.b"}, "", "after"),
    "token in the query": ({}, "?view=all&next=", "next"),
    "page": ({"page": 0, "pageSize": 50}, "", "page"),
    "page, untold": ({}, "?p=9", "p"),
    "offset": ({"skip": 5}, "", "skip"),
    "offset, untold": ({}, "?skip=+1", "skip"),
    "reference": ({"pagingReference": -1}, "", "pagingReference"),
    "reference in the query": ({}, "?from=1", "from"),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_a_place_that_was_not_offered_is_refused(
    sandbox: RunningSandbox, signed_in: Caller, name: str
):
    """A made-up continuation is 400."""
    off_id, _ = richest(signed_in)
    sandbox.control(contract=PAGED[name])
    fields, query, place = MADE_UP[name]
    answer = signed_in.search({"offId": off_id, **fields}, query=query)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [place])
