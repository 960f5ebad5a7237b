"""A declared style of paging: where the continuation stands, and where it goes."""

import pytest

from tests.support.pages import page, paging_of, sent, state
from tests.support.pts_answers import OFF_ID
from worker.errors import PagingError


def test_a_declared_total():
    """A declared total is checked like any other; it may be missing or null, but no other text."""
    paging = paging_of({"style": "token", "field": "after", "total": "meta.all"})
    for around in ({}, {"meta": {"all": None}}, {"meta": {"all": 1}}):
        assert state(paging).next_request(page(1, around=around)) is None
    with pytest.raises(PagingError, match="the total says 2"):
        state(paging).next_request(page(1, around={"meta": {"all": 2}}))
    for total in ("many", int(OFF_ID)):
        with pytest.raises(PagingError, match="declared total is not a number"):
            state(paging).next_request(page(1, around={"meta": {"all": total}}))


@pytest.mark.parametrize(
    ("declared", "around", "expected"),
    [
        ("token", {"nextToken": "a"}, ({"nextToken": "a"}, {"nextToken": "a"})),
        (
            {"style": "token", "field": "meta.after", "send_as": "since", "send_in": "query"},
            {"meta": {"after": "a"}},
            ({"since": "a"}, {}),
        ),
        (
            {"style": "token", "field": "after", "send_in": "body"},
            {"after": 5},
            ({}, {"after": 5}),
        ),
        ({"style": "next_link", "field": "more"}, {"more": "?n=2"}, ({"n": "2"}, {})),
        ({"style": "page", "field": "p"}, {"p": 0}, ({"p": "1"}, {"p": 1})),
        ("page", {}, ({"page": "2"}, {"page": 2})),
        ("offset", {}, ({"offset": "1"}, {"offset": 1})),
        ({"style": "page", "send_as": "_page", "send_in": "query"}, {}, ({"_page": "2"}, {})),
        (
            {"style": "reference", "send_in": "query"},
            {"pagingReference": "7"},
            ({"pagingReference": "7"}, {}),
        ),
    ],
)
def test_declared_styles(declared, around, expected):
    """A declared style takes the continuation where it was declared, and sends it there."""
    assert sent(state(paging_of(declared)).next_request(page(1, around=around))) == expected


@pytest.mark.parametrize("style", ["token", "reference", "next_link"])
@pytest.mark.parametrize("around", [{"after": None}, {"after": ""}, {"meta": {}}])
def test_a_declared_field_without_a_value_is_the_end(style, around):
    """Null, an empty text and no such field say that there is no more."""
    walk = state(paging_of({"style": style, "field": "after"}))
    assert walk.next_request(page(1, around=around)) is None


@pytest.mark.parametrize(
    ("declared", "around", "headers"),
    [
        ("none", {"nextToken": "a"}, None),
        ("none", None, {"link": "<?a=1>; rel=next"}),
        ("link", {"nextLink": "?a=1"}, None),
        ("reference", {"nextToken": "a"}, None),
        ({"style": "token", "field": "after"}, {"after": "a", "nextToken": "b"}, None),
        (
            {"style": "token", "field": "after", "send_in": "query"},
            {"after": OFF_ID},
            None,
        ),
    ],
)
def test_declared_style_with_other_signs(declared, around, headers):
    """A sign of more that the declared style does not follow is an error."""
    with pytest.raises(PagingError):
        state(paging_of(declared)).next_request(page(1, around=around, headers=headers))


def test_ignored_fields():
    """What was declared to be no continuation is none."""
    paging = paging_of({"style": "auto", "ignore": ["nextReview", "x-offset"]})
    answer = page(1, around={"nextReview": "2027-01-01"}, headers={"x-offset": "5"})
    assert state(paging).next_request(answer) is None
