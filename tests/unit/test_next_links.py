"""Next links, in a header or the body: which are followed, and where they may lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pages import URL, page, paging_of, sent, state
from tests.support.pts_answers import OFF_ID
from worker.core.area import Paging
from worker.core.paging import PageRequest, PagingState
from worker.errors import PagingError


@pytest.mark.parametrize(
    "link",
    [
        f'<{URL}?page=2>; rel="next"',
        "</v0.5/_search?page=2>; rel=next",
        '<_search?page=2>; title="a, b; c"; rel="next"',
        f"<https://pts.example/x>; rel=help,<{URL}?page=1>;rel=prev,<{URL}?page=2>;rel=next",
        "<https://PTS.example:443/v0.5/_search?page=2#here>; rel=NEXT",
    ],
)
def test_link_header(link):
    """``Link`` with ``rel=next`` is followed, relative or not, among others (RFC 8288)."""
    for paging in (Paging(), paging_of("link")):
        request = state(paging).next_request(page(1, headers={"link": link}))
        assert sent(request) == ({"page": "2"}, {})


@pytest.mark.parametrize(
    "around",
    [
        {"next": URL + "?n=2", "nextLink": "?n=2"},
        {"@odata.nextLink": URL + "?n=2"},
        {"next": {"href": "?n=2"}},
        {"_links": {"self": {"href": URL}, "next": {"href": "?n=2"}}},
        {"link": [{"relation": "self", "url": URL}, {"relation": "next", "url": "?n=2"}]},
        {"paging": {"links": {"next": "?n=2"}}},
    ],
    ids=str,
)
def test_next_link_in_the_body(around):
    """The usual ways to write a next link are followed with the same body."""
    assert sent(state().next_request(page(1, around=around))) == ({"n": "2"}, {})


def test_the_digits_of_the_own_address_are_nobody():
    """127.0.0.1:30000 has the digits and the form of an identifier; a link to it is followed."""
    url = "http://127.0.0.1:30000/v0.5/_search"
    walk = PagingState(paging=Paging(), url=url, off_id=OFF_ID, pages_max=20)
    request = walk.next_request(page(1, headers={"link": f'<{url}?page=2>; rel="next"'}))
    assert request == PageRequest(url=f"{url}?page=2")


@pytest.mark.promise("8")
@pytest.mark.parametrize("between", ["", "-", "%20", "+"])
def test_link_with_the_identifier(between):
    """However people write an identifier: a link that holds it is not followed."""
    link = f"{URL}?after={OFF_ID[:6]}{between}{OFF_ID[6:]}"
    with pytest.raises(PagingError, match="holds the person's identifier"):
        state().next_request(page(1, around={"nextLink": link}))


@given(text=st.text(alphabet="<>;,=\"' relnxt/?\\ab", max_size=60))
def test_any_link_header_is_read_or_an_error(text):
    """A header at random never makes the reader fail in another way, or go somewhere else."""
    try:
        request = state().next_request(page(1, headers={"link": text}))
    except PagingError:
        return
    assert request is None or request.url.startswith(URL)


_ORIGINS = (
    "", "https://pts.example", "HTTPS://PTS.example:443", "//pts.example", "https://evil.example",
    "https://pts.example@evil.example", "https://pts.example.evil.example", "http://pts.example",
    "https://pts.example:8443", "https:/\\evil.example", "javascript:",
)  # fmt: skip

_PATHS = (
    "/v0.5/_search", "/v0.5/_search/2", "/v0.5/_search/../../admin", "/v0.5/_search/%2e%2e/admin",
    "/v0.5/_search/..%2fadmin", "/v0.5/_search//x", "/v0.5/_search;x/../admin",
    "/v0.5/_search\\..\\admin", "/v0.5/_searches", "/V0.5/_search", "/v0.5/%5fsearch", "/", "",
    "/admin", "/v0.5/_search%00/x", "/v0.5/_search/%252e%252e/x", "/v0.5/_search/\u2025/x",
)  # fmt: skip


@pytest.mark.promise("8")
def test_no_next_link_leaves_the_path_of_the_area():
    """A token and an identifier go where the area is, whatever PTS or a gateway suggests."""
    followed = []
    for link in (f"{origin}{path}?p=2" for origin in _ORIGINS for path in _PATHS):
        for around, headers in (
            ({"nextLink": link}, None),
            (None, {"link": f"<{link}>; rel=next"}),
        ):
            try:
                request = state().next_request(page(1, around=around, headers=headers))
            except PagingError:
                continue
            followed.append(None if request is None else request.url)
    assert {str(url).lower().replace(":443", "").partition("?")[0] for url in followed} == {
        "https://pts.example/v0.5/_search",
        "https://pts.example/v0.5/_search/2",
    }
