"""Next links, in a header or the body: which are followed, and where they may lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pages import URL, page, paging_of, sent, state
from tests.support.pts_answers import OFF_ID
from worker.core.area import Paging
from worker.core.links import claims_next, next_links
from worker.core.paging import PageRequest, PagingState
from worker.errors import PagingError


@pytest.mark.parametrize(
    "link",
    [
        f'<{URL}?page=2>; rel="next"',
        f"<{URL}?page=2>; rel=next",
        "</v0.5/_search?page=2>; rel=next",
        "<?page=2>; rel=NEXT",
        "<_search?page=2>; title=\"a, b; c\"; rel='next'".replace("'", '"'),
        f'<{URL}?page=1>; rel="first", <{URL}?page=2>; rel="next last"',
        f"<{URL}?page=1>;rel=prev,<{URL}?page=2>;rel=next",
        "<https://PTS.example:443/v0.5/_search?page=2>; rel=next",
        "<?page=2#here>; rel=next",
    ],
)
def test_link_header(link):
    """``Link`` with ``rel=next`` is followed, relative or not, among others (RFC 8288)."""
    for paging in (Paging(), paging_of("link")):
        request = state(paging).next_request(page(1, headers={"link": link}))
        assert sent(request) == ({"page": "2"}, {})


def test_default_port_without_tls():
    """On this machine, where TLS may be missing, the default port is another one."""
    walk = PagingState(paging=Paging(), url="http://127.0.0.1/s", off_id=OFF_ID, pages_max=20)
    link = "<http://127.0.0.1:80/s?page=2>; rel=next"
    assert sent(walk.next_request(page(1, headers={"link": link}))) == ({"page": "2"}, {})


def test_other_links_are_not_followed():
    """Links of other relations mean nothing here."""
    links = '<https://pts.example/next>; rel="help", </>; rel=prev; title="rel=next"'
    assert state().next_request(page(1, headers={"link": links})) is None


@pytest.mark.parametrize(
    "around",
    [
        {"next": URL + "?n=2"},
        {"Next": "/v0.5/_search?n=2"},
        {"nextLink": "?n=2"},
        {"@odata.nextLink": URL + "?n=2"},
        {"next": {"href": "?n=2"}},
        {"next": {"url": "?n=2"}},
        {"links": {"next": "?n=2", "prev": None}},
        {"_links": {"self": {"href": URL}, "next": {"href": "?n=2"}}},
        {"link": [{"relation": "self", "url": URL}, {"relation": "next", "url": "?n=2"}]},
        {"links": ["about", {"rel": "next", "href": "?n=2"}]},
        {"links": {"rel": "next", "href": "?n=2"}},
        {"link": {"relation": "next", "url": "?n=2"}},
        {"meta": {"next": "?n=2"}},
        {"paging": {"links": {"next": "?n=2"}}},
        {"next": "?n=2", "nextLink": URL + "?n=2"},
    ],
)
def test_next_link_in_the_body(around):
    """The usual ways to write a next link are followed with the same body."""
    assert sent(state().next_request(page(1, around=around))) == ({"n": "2"}, {})


@pytest.mark.promise("10")
@pytest.mark.parametrize(("spellings", "is_one"), [(10, True), (11, False)])
def test_many_spellings_of_a_next_link(spellings, is_one):
    """Each is examined, so that tens of thousands would take half a minute."""
    hrefs = [f"?page=2#{number}" for number in range(spellings)]
    around = {"links": [{"rel": "next", "href": href} for href in hrefs * 2]}
    if is_one:
        assert state().next_request(page(1, around=around)) is not None
        return
    with pytest.raises(PagingError, match="several next links"):
        state().next_request(page(1, around=around))


def test_the_digits_of_the_own_address_are_nobody():
    """127.0.0.1:30000 has the digits and the form of an identifier; a link to it is followed."""
    url = "http://127.0.0.1:30000/v0.5/_search"
    walk = PagingState(paging=Paging(), url=url, off_id=OFF_ID, pages_max=20)
    request = walk.next_request(page(1, headers={"link": f'<{url}?page=2>; rel="next"'}))
    assert PageRequest(url=f"{url}?page=2") == request


@pytest.mark.promise("8")
@pytest.mark.parametrize("between", ["-", " ", "%20", "+", "."])
def test_link_with_the_identifier_in_groups(between):
    """However people write an identifier: a link that holds it is not followed."""
    link = f"{URL}?after={OFF_ID[:6]}{between}{OFF_ID[6:]}"
    with pytest.raises(PagingError, match="holds the person's identifier"):
        state().next_request(page(1, around={"nextLink": link}))


@given(text=st.text(alphabet="<>;,=\"' relnxt/?\\ab", max_size=60))
def test_any_link_header_is_read_or_an_error(text):
    """A header at random never makes the reader fail in another way."""
    links = next_links([text])
    assert isinstance(claims_next([text]), bool)
    try:
        state().next_request(page(1, headers={"link": text}))
    except PagingError:
        return
    assert len(set(links)) <= 1


_ORIGINS = (
    "",
    "https://pts.example",
    "https://pts.example:443",
    "HTTPS://PTS.example",
    "//pts.example",
    "https://evil.example",
    "https://pts.example@evil.example",
    "https://pts.example.evil.example",
    "http://pts.example",
    "https://pts.example:8443",
    "https:/\\evil.example",
    "javascript:",
)

_PATHS = (
    "/v0.5/_search",
    "/v0.5/_search/2",
    "/v0.5/_search/../../admin",
    "/v0.5/_search/%2e%2e/admin",
    "/v0.5/_search/..%2fadmin",
    "/v0.5/_search/.%2e/x",
    "/v0.5/_search//x",
    "/v0.5/_search;x/../admin",
    "/v0.5/_search\\..\\admin",
    "/v0.5/_searches",
    "/V0.5/_search",
    "/v0.5//_search",
    "/v0.5/other/_search",
    "/v0.5/%5fsearch",
    "/",
    "",
    "/admin",
    "/v0.5/_search%00/x",
    "/v0.5/_search/%252e%252e/x",
    "/v0.5/_search/\u2025/x",
)

LINKS = [
    f"{origin}{path}{query}"
    for origin in _ORIGINS
    for path in _PATHS
    for query in ("?p=2", "#?p=2")
]


def test_no_next_link_leaves_the_path_of_the_area():
    """A token and an identifier go where the area is, whatever PTS or a gateway suggests."""
    followed = []
    for link in LINKS:
        for around, headers in (
            ({"nextLink": link}, None),
            (None, {"link": f"<{link}>; rel=next"}),
        ):
            try:
                request = state().next_request(page(1, around=around, headers=headers))
            except PagingError:
                continue
            followed.append(None if request is None else request.url)
    assert 2 * len(LINKS) >= 400
    assert all(followed)
    assert {str(url).lower().replace(":443", "").partition("?")[0] for url in followed} == {
        "https://pts.example/v0.5/_search",
        "https://pts.example/v0.5/_search/2",
    }


@pytest.mark.parametrize("below", ["?page=2", "_search?page=2", "_search/2", "_search/pages/2/"])
def test_next_links_on_or_below_the_path_are_followed(below):
    """Which is where a server's own pages are."""
    headers = {"link": f"<{below}>; rel=next"}
    assert state().next_request(page(1, headers=headers)) is not None
