"""Places in a paged answer that were not offered; ``test_contract`` walks to the end of each."""

from typing import Any

import pytest

from tests.support.contracts import PAGED, contract
from tests.support.sandbox_caller import OFF_IDS, Caller, richest
from worker.sandbox.serve import RunningSandbox


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
