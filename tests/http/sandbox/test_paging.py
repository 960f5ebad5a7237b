"""The styles of paging, walked to the end by hand."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.contracts import PAGED, contract
from tests.support.sandbox_caller import OFF_IDS, Caller, richest
from worker.sandbox.serve import RunningSandbox

Next = tuple[dict[str, Any], str] | None
"""What the next request has in its body and query; None after the last page."""


def _by_link(url: str | None) -> Next:
    return ({}, f"?{httpx.URL(url).query.decode()}") if url else None


def _by_page(answer: httpx.Response, number: int) -> Next:
    page = answer.json()["page"]
    assert (page["number"], page["hasNext"]) == (number, number < page["count"])
    return ({"page": number + 1}, "") if page["hasNext"] else None


def _by_skip(answer: httpx.Response, seen: int) -> Next:
    return ({"skip": seen}, "") if seen < int(answer.headers["x-total-count"]) else None


def _sent(name: str, value: Any) -> Next:
    return ({name: value}, "") if value else None


FOLLOW: dict[str, Callable[[httpx.Response, int, int], Next]] = {
    "link": lambda answer, *_: _by_link(answer.links.get("next", {}).get("url")),
    "next_link": lambda answer, *_: _by_link(answer.json()["@odata.nextLink"]),
    "token": lambda answer, *_: _sent("after", answer.json()["meta"]["next"]),
    "token in the query": lambda answer, *_: (
        ({}, f"?view=all&next={answer.json()['next']}") if answer.json()["next"] else None
    ),
    "page": lambda answer, number, _: _by_page(answer, number),
    "page, untold": lambda answer, number, _: ({}, f"?p={number}") if answer.json() else None,
    "offset": lambda answer, _, seen: _by_skip(answer, seen),
    "offset, untold": lambda answer, _, seen: ({}, f"?skip={seen}") if answer.json() else None,
    "reference": lambda answer, *_: _sent("pagingReference", answer.json()["pagingReference"]),
    "reference in the query": lambda answer, *_: (
        ({}, f"?from={answer.json()['next']['id']}") if answer.json()["next"]["id"] else None
    ),
}
FIRST = {"next_link": "?%24top=50", "token in the query": "?view=all"}


def walk(caller: Caller, off_id: str, name: str) -> list[list[Any]]:
    """The pages of a person, at most ten."""
    template = {"page": 1, "pageSize": 50} if name == "page" else {}
    sent: Next = {}, FIRST.get(name, "")
    pages: list[list[Any]] = []
    while sent is not None and len(pages) < 10:
        fields, query = sent
        answer = caller.search({"offId": off_id, **template, **fields}, query=query)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        is_bare = isinstance(document, list)
        pages.append(document if is_bare else document.get("items", document.get("value")))
        sent = FOLLOW[name](answer, len(pages), sum(map(len, pages)))
    return pages


@pytest.mark.parametrize("name", PAGED)
@pytest.mark.parametrize("size", [1, 3])
def test_pages_together_have_every_record(
    sandbox: RunningSandbox, signed_in: Caller, name: str, size: int
):
    """Read to the end, each style gives every record once, in pages of the size asked for."""
    off_id, complete = richest(signed_in)
    assert len(complete) == 4
    sandbox.control(contract=PAGED[name], page_size=size)
    pages = walk(signed_in, off_id, name)
    assert [record for page in pages for record in page] == complete
    assert [len(page) for page in pages if page] == ([1, 1, 1, 1] if size == 1 else [3, 1])
    assert ([] in pages) == name.endswith("untold")


def test_totals_and_continuations_can_be_wrong(sandbox: RunningSandbox, signed_in: Caller):
    """A total that does not add up, declared or not, and a continuation that nobody knows."""
    off_id, complete = richest(signed_in)
    wrong = len(complete) + 1
    sandbox.control(faults=[{"action": "wrong_total"}])
    assert signed_in.search(off_id).headers["x-total-count"] == str(wrong)
    sandbox.control(contract=contract(records="data.list", total="data.count"))
    assert signed_in.search(off_id).json()["data"]["count"] == wrong
    sandbox.control(faults=[{"action": "unknown_continuation"}])
    assert signed_in.search(off_id).json().keys() == {"data", "hasMore", "scrollId"}
    sandbox.control(contract=contract())
    assert signed_in.search(off_id).json().keys() == {"items", "hasMore", "scrollId"}


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


@pytest.mark.parametrize("name", ["link", "token", "reference"])
def test_a_continuation_is_for_one_person(sandbox: RunningSandbox, signed_in: Caller, name: str):
    """What was issued for one person is refused for another."""
    off_id, _ = richest(signed_in)
    many = [one for one in OFF_IDS[:40] if len(signed_in.search(one).json()) > 2]
    other = next(one for one in many if one != off_id)
    sandbox.control(contract=PAGED[name])
    fields, query = FOLLOW[name](signed_in.search(off_id), 1, 2) or ({}, "")
    assert signed_in.search({"offId": off_id, **fields}, query=query).status_code == 200
    assert signed_in.search({"offId": other, **fields}, query=query).status_code == 400
