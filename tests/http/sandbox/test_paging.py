"""The styles of paging, walked to the end by hand."""

from typing import Any

import httpx
import pytest

from tests.support.sandbox_caller import Caller, richest
from worker.sandbox.serve import RunningSandbox
from worker.sandbox.styles import PAGING_STYLES


def walk(caller: Caller, off_id: str, style: str) -> list[list[Any]]:
    """The pages of a person, at most ten."""
    pages: list[list[Any]] = []
    body: dict[str, Any] = {"offId": off_id}
    query = ""
    for number in range(1, 11):
        if style == "page":
            body["page"] = number
        answer = caller.search(body, query=query)
        assert answer.status_code == 200
        document = answer.json()
        pages.append(document if isinstance(document, list) else document["items"])
        match style:
            case "link":
                link = answer.links.get("next", {}).get("url")
                query = httpx.URL(link).query.decode() if link else ""
            case "next_link":
                link = document["nextLink"]
                query = httpx.URL(link).query.decode() if link else ""
            case "token":
                body["continuationToken"] = query = document["continuationToken"]
                query = "?" if query else ""
            case "page":
                query = "?" if number * document["pageSize"] < document["total"] else ""
            case "paging_reference":
                body["pagingReference"] = document["pagingReference"]
                query = "?" if document["pagingReference"] else ""
            case _:
                break
        if not query:
            break
        query = f"?{query}" if query != "?" else ""
    return pages


@pytest.mark.parametrize("style", PAGING_STYLES)
@pytest.mark.parametrize("size", [1, 3])
def test_pages_together_have_every_record(
    sandbox: RunningSandbox, signed_in: Caller, style: str, size: int
):
    """Read to the end, each style gives every record once, in pages of the size asked for."""
    off_id, complete = richest(signed_in)
    assert len(complete) == 4
    sandbox.control(paging=style, page_size=size)
    pages = walk(signed_in, off_id, style)
    assert [record for page in pages for record in page] == complete
    assert len(pages) == (1 if style == "none" else -(-4 // size))


@pytest.mark.parametrize("style", [s for s in PAGING_STYLES if s != "none"])
def test_loops_never_end(sandbox: RunningSandbox, signed_in: Caller, style: str):
    """With the fault, a client that does not look is led round and round."""
    off_id, _ = richest(signed_in)
    sandbox.control(paging=style, page_size=3, faults=[{"action": "loop_paging"}])
    assert len(walk(signed_in, off_id, style)) == 10


@pytest.mark.parametrize("style", PAGING_STYLES)
def test_totals_and_continuations_can_be_wrong(
    sandbox: RunningSandbox, signed_in: Caller, style: str
):
    """A total that does not add up, and a continuation that nobody knows, in every style."""
    off_id, complete = richest(signed_in)
    sandbox.control(paging=style, faults=[{"action": "wrong_total"}])
    assert signed_in.search(off_id).json()["total"] == len(complete) + 1
    sandbox.control(faults=[{"action": "unknown_continuation"}])
    assert signed_in.search(off_id).json()["hasMore"] is True


@pytest.mark.parametrize(
    ("style", "field", "value"),
    [
        ("link", "cursor", "bm9uZQ"),
        ("token", "continuationToken", "a.b"),
        ("page", "page", 0),
        ("paging_reference", "pagingReference", -1),
    ],
)
def test_a_place_that_was_not_offered_is_refused(
    sandbox: RunningSandbox, signed_in: Caller, style: str, field: str, value: object
):
    """A made-up continuation is 400."""
    off_id, _ = richest(signed_in)
    sandbox.control(paging=style)
    answer = signed_in.search({"offId": off_id, field: value})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
