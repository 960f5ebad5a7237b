"""``Link`` headers: what is read, and what is a claim that cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.links import claims_next, next_links


@pytest.mark.parametrize(
    ("header", "targets"),
    [
        ("<https://a/2>; rel=next", ["https://a/2"]),
        ('</2?a,b>;rel="prev next";title="x, y"', ["/2?a,b"]),
        ('<a>; rel="prev", <b>; rel="next"', ["b"]),
        ("<a>;rel=next, <b>;rel=next", ["a", "b"]),
        ("<a>; rel=prev; rel=next", []),
        ("<a>; REL=NEXT", ["a"]),
        ('<a>; title="\\"; rel=next"; rel=last', []),
        ("<a; rel=next", []),
    ],
)
def test_next_links(header, targets):
    """RFC 8288 §3: targets, quoted and bare parameters, several links in one header."""
    assert next_links([header]) == targets


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("header", "is_claim"),
    [
        ("https://a/2; rel=next", True),
        ("<a; rel='next'", True),
        ("rel = prev next", True),
        ("<a>; rel=next", False),
        ("rel=nextish", False),
    ],
)
def test_claims_that_cannot_be_read(header, is_claim):
    """What speaks of a next link must not be taken for the last page."""
    assert claims_next([header]) == is_claim


@pytest.mark.promise("1")
@given(st.text(alphabet="<>;=,\"' \\relnxta"))
def test_no_next_is_overlooked(header):
    """Whatever stands before it, a next link is read, or is a claim, or is inside another text."""
    text = f"{header}, <b>; rel=next"
    assert next_links([text]) or claims_next([text]) or '"' in header or "<" in header
