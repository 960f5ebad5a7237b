"""Pages of an answer that cannot be followed to the last.

That each style is, and what is sent: ``tests/http/sandbox/test_contract.py``.
"""

from typing import Any

import pytest

from tests.support.pts_answers import OFF_ID, OTHER_OFF_ID, answer, contract
from worker.core.paging import PagingState, next_links
from worker.errors import ContractError, PagingError

URL = "https://pts.example/v0.5/_search"
STYLES: dict[str, dict[str, Any]] = {
    "none": {"records": "items", "total": "total"},
    "next_link": {"records": "items", "paging": {"style": "next_link", "field": "next"}},
    "token": {
        "records": "items",
        "paging": {"style": "token", "field": "next", "send_as": "cursor", "send_in": "query"},
    },
    "page": {
        "records": "items",
        "total": "total",
        "paging": {"style": "page", "send_as": "page"}
        | {"field": "page", "pages": "pages", "more": "more"},
    },
    "offset": {
        "records": "items",
        "paging": {"style": "offset", "send_as": "offset", "field": "offset", "more": "more"},
    },
    "reference": {"records": "items", "paging": {"style": "reference", "field": "ref"}},
}


def follow(style: str, *around: dict[str, Any]) -> None:
    """Follow pages that say this around a record each, or around what they hold as ``items``."""
    declared = contract(**STYLES[style])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    for number, said in enumerate(around, 1):
        page = answer({"items": [{"id": number}], **said}, declared)
        walk.next_request(page, [str(item["id"]) for item in page.items])


def page_of(number: int, last: int, **changed: Any) -> dict[str, Any]:
    """What a page says of itself if there are so many, with one record each."""
    return {"page": number, "pages": last, "more": number < last, "total": last} | changed


ENDLESS = [{"items": [], "next": f"t{number}"} for number in range(1_000)]


@pytest.mark.promise("1")
@pytest.mark.promise("10")
@pytest.mark.parametrize(
    ("style", "pages", "message"),
    [
        ("page", [page_of(2, 1)], "another page was returned"),
        ("page", [page_of(1, 2, more=False, total=1)], "contradicts itself"),
        ("page", [page_of(1, 1, more=True)], "contradicts itself"),
        ("page", [page_of(1, 1, total=2)], "contradicts itself"),
        ("page", [page_of(1, 1, more=None)], "neither true nor false"),
        ("page", [page_of(1, 1, total=True)], "no natural number"),
        ("page", [page_of(1, -1, more=False, total=1)], "no natural number"),
        ("page", [{"page": 1, "more": False, "total": 1}], "no natural number"),
        ("page", [page_of(1, 0, total=1)], "page 1 of 0 has records"),
        # A record that slips over the boundary of pages is in none of them.
        ("page", [page_of(1, 2, total=3), page_of(2, 2)], "an earlier page had another number"),
        ("page", [page_of(1, 2), page_of(2, 3)], "an earlier page had another number"),
        ("page", [page_of(1, 2, pages=3), page_of(2, 2)], "an earlier page had another number"),
        ("none", [{"total": 2}], "the total is 2 records, but 1 were read"),
        ("none", [{"total": 0}], "the total is 0 records, but 1 were read"),
        ("none", [{"total": 10**19}], "no natural number"),
        ("offset", [{"offset": 1, "more": False}], "another page was returned"),
        ("offset", [{"items": [], "offset": 0, "more": True}], "but indicates another page"),
        ("token", [{"next": False}], "not a text"),
        ("token", [{"next": "x" * 2_001}], "more than 2000 characters"),
        ("token", [{"next": "\ud800"}], "not Unicode"),
        ("next_link", [{"next": "?x=\udfff"}], "not Unicode"),
        ("token", [{"next": f"x-{OFF_ID[:6]} {OFF_ID[6:]}"}], "contains the person's identifier"),
        # A number of PTS's own may look like an identifier.
        ("token", [{"next": OTHER_OFF_ID}] * 2, "a loop"),
        ("token", [{"next": "a"}, {"next": "b", "items": [{"id": 1}]}], "repeats a record"),
        ("token", [{"next": "a"}, {"next": None, "items": [{"id": 1}]}], "repeats a record"),
        ("token", ENDLESS, "more than 1000 pages"),
        ("reference", [{"ref": None}], "no natural number"),
        ("next_link", [{"next": "https://elsewhere.example/v0.5/_search"}], "another server"),
        ("next_link", [{"next": "/other"}], "leaves the area's path"),
        ("next_link", [{"next": "/v0.5/_search/../x"}], "leaves the area's path"),
        ("next_link", [{"next": "//u@pts.example/v0.5/_search"}], "another server"),
        ("next_link", [{"next": f"?offId={OFF_ID}"}], "contains the person's identifier"),
        ("next_link", [{"next": "?offId=%31%36858399649"}], "contains the person's identifier"),
        ("next_link", [{"next": "http://["}], "not a URL"),
        ("next_link", [{"next": "?p=2 HTTP/1.1"}], "not a URL"),
    ],
)
def test_what_contradicts_itself(style, pages, message):
    """All that is declared is checked, of a page and from page to page; and there is an end."""
    with pytest.raises((PagingError, ContractError), match=message) as caught:
        follow(style, *pages)
    assert OFF_ID not in caught.value.message


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("status", "link", "message"),
    [
        (200, "<?p=2>; rel=next, <?p=3>; rel=next", "several next links"),
        (200, "<>; rel=next", "a loop"),
        (204, "<?p=2>; rel=next", "page 1 has a status that means no records"),
    ],
)
def test_next_links_that_lead_nowhere(status, link, message):
    """It is not guessed which one leads to the next page."""
    declared = contract(paging={"style": "link"}, empty_status=[204])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    page = answer([] if status == 200 else b"", declared, status=status, headers={"Link": link})
    with pytest.raises(PagingError, match=message):
        walk.next_request(page, [])


@pytest.mark.promise("1")
@pytest.mark.parametrize("keys", [["1"], []])
def test_a_status_that_takes_back_what_was_read(keys):
    """Declared as "no records", and said of a later page: the page is lost."""
    declared = contract(**STYLES["token"], empty_status=[204])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    walk.next_request(answer({"items": [], "next": "a"}, declared), keys)
    with pytest.raises(PagingError, match="page 2 has a status that means no records"):
        walk.next_request(answer(b"", declared, status=204), [])


def test_a_next_link_with_the_default_port():
    """It leads to the same server."""
    declared = contract(**STYLES["next_link"])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    link = "https://pts.example:443/v0.5/_search?p=2"
    request = walk.next_request(answer({"items": [{"id": 1}], "next": link}, declared), ["1"])
    assert (request and request.url) == link


@pytest.mark.parametrize(
    ("header", "targets"),
    [
        ('<a>; rel="next"', ["a"]),
        ("<a>; rel=next, <b>; rel=prev", ["a"]),
        ('<a>; rel="prev NEXT"; title="x, y"', ["a"]),
        ('<a>; title="; rel=last"; rel=first', []),
        ("", []),
        ("nonsense", []),
    ],
)
def test_link_headers(header, targets):
    """RFC 8288 §3."""
    assert list(next_links([header])) == targets


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "header",
    [
        *("<a; rel=next", "a; rel=next", "<a> rel=next", '<a>; rel="next', "<a>; rel='next'"),
        *("<a>; rel*=UTF-8''next", "<a>; rel=first; rel=next"),
    ],
)
def test_a_link_header_that_cannot_be_read(header):
    """If it may speak of a next page."""
    with pytest.raises(PagingError, match="Link header"):
        list(next_links([header]))
