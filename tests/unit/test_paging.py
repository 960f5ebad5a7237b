"""Pages of an answer that cannot be followed to the last.

That each style is, and what is sent: ``tests/http/sandbox/test_contract.py``.
"""

from typing import Any

import pytest

from tests.support.pts_answers import OFF_ID, answer, contract
from worker.core.answer import Answer
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
        "paging": {
            "style": "page",
            "send_as": "page",
            "field": "page",
            "pages": "pages",
            "more": "more",
        },
    },
    "offset": {
        "records": "items",
        "paging": {"style": "offset", "send_as": "offset", "field": "offset", "more": "more"},
    },
    "reference": {"records": "items", "paging": {"style": "reference", "field": "ref"}},
}


def _follow(walk, pages):
    for page, keys in pages:
        walk.next_request(page, keys)


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("style", "around", "message"),
    [
        ("page", {"page": 2, "pages": 1, "more": False, "total": 1}, "another page was returned"),
        ("page", {"page": 1, "pages": 2, "more": False, "total": 1}, "contradicts itself"),
        ("page", {"page": 1, "pages": 1, "more": True, "total": 1}, "contradicts itself"),
        ("page", {"page": 1, "pages": 1, "more": False, "total": 2}, "contradicts itself"),
        ("page", {"page": 1, "pages": 1, "more": None, "total": 1}, "neither true nor false"),
        ("page", {"page": 1, "pages": 1, "more": False, "total": True}, "no natural number"),
        ("page", {"page": 1, "pages": -1, "more": False, "total": 1}, "no natural number"),
        ("page", {"page": 1, "more": False, "total": 1}, "no natural number"),
        ("page", {"page": 1, "pages": 0, "more": False, "total": 1}, "page 1 of 0 has records"),
        ("none", {"total": 2}, "the total says 2 records, 1 were read"),
        ("none", {"total": 0}, "the total says 0 records, 1 were read"),
        ("offset", {"offset": 1, "more": False}, "another page was returned"),
        ("token", {"next": False}, "not a text"),
        ("token", {"next": "x" * 2_001}, "more than 2000 characters"),
        ("token", {"next": f"x-{OFF_ID}"}, "holds a person's identifier"),
        ("reference", {"ref": None}, "no natural number"),
        ("next_link", {"next": "https://elsewhere.example/v0.5/_search"}, "another server"),
        ("next_link", {"next": "/other"}, "leaves the area's path"),
        ("next_link", {"next": "/v0.5/_search/../x"}, "leaves the area's path"),
        ("next_link", {"next": "//u@pts.example/v0.5/_search"}, "another server"),
        ("next_link", {"next": f"?offId={OFF_ID}"}, "holds a person's identifier"),
        ("next_link", {"next": "?offId=%31%36858399649"}, "holds a person's identifier"),
        ("next_link", {"next": "http://["}, "not a URL"),
    ],
)
def test_what_contradicts_itself(style, around, message):
    """All that is declared is checked."""
    declared = contract(**STYLES[style])
    page = answer({"items": [{}], **around}, declared)
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    with pytest.raises((PagingError, ContractError), match=message) as caught:
        walk.next_request(page, ["1"])
    assert OFF_ID not in caught.value.message


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([("a", ["1"]), ("a", ["2"])], "a loop"),
        ([("a", ["1"]), ("b", ["1"])], "repeats a record"),
        ([("a", ["1"]), (None, ["1"])], "repeats a record"),
    ],
)
def test_pages_that_come_again(pages, message):
    """Loops and repeated records."""
    declared = contract(**STYLES["token"])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    with pytest.raises(PagingError, match=message):
        _follow(walk, [(answer({"items": [{}], "next": t}, declared), k) for t, k in pages])


@pytest.mark.promise("1")
def test_several_next_links():
    """It is not guessed which one leads to the next page."""
    declared = contract(records="items", paging={"style": "link"})
    page = answer({"items": []}, declared, headers={"Link": "<?p=2>; rel=next, <?p=3>; rel=next"})
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    with pytest.raises(PagingError, match="several next links"):
        walk.next_request(page, [])


@pytest.mark.promise("1")
def test_a_status_that_takes_back_what_was_read():
    """Declared as "no records", and said of a later page: the page is lost."""
    declared = contract(**STYLES["token"], empty_status=[204])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    with pytest.raises(PagingError, match="page 2 says that there are no records"):
        _follow(
            walk,
            [
                (answer({"items": [{}], "next": "a"}, declared), ["1"]),
                (answer(b"", declared, status=204), []),
            ],
        )


@pytest.mark.promise("1")
@pytest.mark.parametrize("changed", [{"total": 3}, {"pages": 3}], ids=str)
def test_a_number_that_changes_between_pages(changed):
    """A record that slips over the boundary of pages is in none of them."""
    first = {"page": 1, "pages": 2, "more": True, "total": 2} | changed
    last = {"page": 2, "pages": 2, "more": False, "total": 2}
    declared = contract(**STYLES["page"])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    with pytest.raises(PagingError, match="an earlier page says another number"):
        _follow(
            walk,
            [(answer({"items": [{}], **a}, declared), [k]) for a, k in ((first, "1"), (last, "2"))],
        )


@pytest.mark.promise("10")
def test_there_is_an_end_to_following():
    """A server that always has another page."""
    declared = contract(**STYLES["token"])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    pages: list[tuple[Answer, list[str]]] = [
        (answer({"items": [], "next": f"t{number}"}, declared), []) for number in range(1_500)
    ]
    with pytest.raises(PagingError, match="more than 1000 pages"):
        _follow(walk, pages)


@pytest.mark.promise("1")
def test_an_empty_page_that_is_not_the_last():
    """With a flag that says so."""
    declared = contract(**STYLES["offset"])
    walk = PagingState(contract=declared, url=URL, off_id=OFF_ID)
    with pytest.raises(PagingError, match="is empty, and says that another follows"):
        walk.next_request(answer({"items": [], "offset": 0, "more": True}, declared), [])


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
        "<a; rel=next",
        "a; rel=next",
        "<a> rel=next",
        '<a>; rel="next',
        "<a>; rel='next'",
        "<a>; rel*=UTF-8''next",
        "<a>; rel=first; rel=next",
    ],
)
def test_a_link_header_that_cannot_be_read(header):
    """If it may speak of a next page."""
    with pytest.raises(PagingError, match="Link header"):
        list(next_links([header]))
