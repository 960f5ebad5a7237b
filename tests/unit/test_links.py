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
@given(st.text(alphabet="<>;=,\"' \\relnxta"))
def test_no_next_is_overlooked(header):
    """Whatever stands before it, a next link is read, or is a claim, or is inside another text."""
    text = f"{header}, <b>; rel=next"
    assert next_links([text]) or claims_next([text]) or '"' in header or "<" in header
    unreadable = ("https://a/2; rel=next", "<a; rel='next'", "rel = prev next")
    assert [text for text in unreadable if not claims_next([text])] == []
