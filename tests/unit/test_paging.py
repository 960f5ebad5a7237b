"""Following an answer to its end, and noticing when that is not possible."""

import base64
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pts_answers import OFF_ID, SAFETY, read, restriction
from worker.core.area import Paging
from worker.core.links import claims_next, next_links
from worker.core.overrides import with_overrides
from worker.core.paging import PageRequest, PagingState
from worker.errors import PagingError

URL = "https://pts.example/v0.5/_search"


def paging_of(overrides):
    return with_overrides(SAFETY, {"paging": overrides}).paging


def state(paging=None, pages_max=20):
    return PagingState(paging=paging or Paging(), url=URL, off_id=OFF_ID, pages_max=pages_max)


def page(*numbers, around=None, headers=None):
    """A page with these restrictions; a bare list unless something stands around it."""
    records = [restriction(number) for number in numbers]
    document = records if around is None else {"items": records, **around}
    return read(document, headers={name: (value,) for name, value in (headers or {}).items()})


def sent(request):
    """A continuation as it goes out: the query and the additional body fields."""
    assert request is not None
    query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
    return query, dict(request.fields)


def test_a_bare_list_is_the_end():
    """An array with no sign of more is a whole answer."""
    walk = state()
    assert walk.next_request(page(1, 2)) is None
    assert (1, 2) == (walk.pages, walk.items)
    assert PageRequest(url=URL) == walk.first


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
    request = state().next_request(page(1, headers={"link": link}))
    assert ({"page": "2"}, {}) == sent(request)


def test_default_port_without_tls():
    """On this machine, where TLS may be missing, the default port is another one."""
    walk = PagingState(paging=Paging(), url="http://127.0.0.1/s", off_id=OFF_ID, pages_max=20)
    link = "<http://127.0.0.1:80/s?page=2>; rel=next"
    assert ({"page": "2"}, {}) == sent(walk.next_request(page(1, headers={"link": link})))


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
    assert ({"n": "2"}, {}) == sent(state().next_request(page(1, around=around)))


@pytest.mark.parametrize(
    "name",
    [
        "continuationToken",
        "ContinuationToken",
        "nextToken",
        "nextPageToken",
        "nextCursor",
        "cursor",
        "skipToken",
    ],
)
def test_tokens(name):
    """A token goes back under its own name, in the query and the body."""
    walk = state()
    request = walk.next_request(page(1, around={name: "a b&c"}))
    assert ({name: "a b&c"}, {name: "a b&c"}) == sent(request)
    assert walk.next_request(page(2, around={name: None})) is None
    assert (2, 2) == (walk.pages, walk.items)


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


@pytest.mark.parametrize("name", ["nextLink", "nextPageToken", "pagingReference"])
def test_a_continuation_without_end(name):
    """It is neither sent nor searched for identifiers, which takes seconds with a megabyte."""
    at_most, longer = (page(1, around={name: "?" + "a" * (n - 1)}) for n in (8_192, 8_193))
    assert state().next_request(at_most) is not None
    with pytest.raises(PagingError, match="a continuation of more than 8192 characters"):
        state().next_request(longer)


@pytest.mark.parametrize("token", [1, "0"])
def test_small_tokens(token):
    """Whatever a token looks like, it is opaque: 1 and "0" are tokens too."""
    request = state().next_request(page(1, around={"nextToken": token}))
    assert {"nextToken": token} == dict(request.fields)


@pytest.mark.parametrize(
    "token",
    [OFF_ID + "-2", base64.urlsafe_b64encode(f"a:{OFF_ID}:2".encode()).decode().rstrip("=")],
)
def test_token_with_the_identifier(token):
    """A token that holds the identifier goes into the body only: URLs are logged."""
    request = state().next_request(page(1, around={"nextToken": token}))
    assert ({}, {"nextToken": token}) == sent(request)


def test_the_digits_of_the_own_address_are_nobody():
    """127.0.0.1:30000 has the digits and the form of an identifier; a link to it is followed."""
    url = "http://127.0.0.1:30000/v0.5/_search"
    walk = PagingState(paging=Paging(), url=url, off_id=OFF_ID, pages_max=20)
    request = walk.next_request(page(1, headers={"link": f'<{url}?page=2>; rel="next"'}))
    assert PageRequest(url=f"{url}?page=2") == request


@pytest.mark.parametrize("between", ["-", " ", "%20", "+", "."])
def test_link_with_the_identifier_in_groups(between):
    """However people write an identifier: a link that holds it is not followed."""
    link = f"{URL}?after={OFF_ID[:6]}{between}{OFF_ID[6:]}"
    with pytest.raises(PagingError, match="holds the person's identifier"):
        state().next_request(page(1, around={"nextLink": link}))


@pytest.mark.parametrize(
    ("around", "headers"),
    [
        ({"total": int(OFF_ID)}, {}),
        ({"totalCount": OFF_ID}, {}),
        ({"count": int(OFF_ID)}, {}),
        ({"totalPages": int(OFF_ID)}, {}),
        ({f"next{OFF_ID}": "x"}, {}),
        ({}, {"x-total-count": OFF_ID}),
        ({}, {f"x-next-page-{OFF_ID}": "1"}),
    ],
    ids=str,
)
def test_no_message_holds_the_identifier(around, headers):
    """Neither a number nor a name in an answer brings an identifier into a message."""
    with pytest.raises(PagingError) as caught:
        state().next_request(page(1, around=around, headers=headers))
    assert OFF_ID.lstrip("0") not in caught.value.message


def test_a_declared_total_is_a_number():
    """A declared total may be missing or null; what is no number of records is an error."""
    paging = paging_of({"total": "meta.all"})
    for around in ({}, {"meta": {"all": None}}, {"meta": {"all": 1}}):
        assert state(paging).next_request(page(1, around=around)) is None
    for total in ("many", int(OFF_ID)):
        with pytest.raises(PagingError, match="declared total is not a number"):
            state(paging).next_request(page(1, around={"meta": {"all": total}}))


@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"\xf8", b"\xfc", b"ab", b"abc"])
@pytest.mark.parametrize("is_padded", [True, False])
def test_token_with_the_identifier_in_base64(alphabet, before, is_padded):
    """Either alphabet, at any place, with or without padding: it stays out of the URL."""
    token = alphabet(before + OFF_ID.encode()).decode()
    token = token if is_padded else token.rstrip("=")
    request = state().next_request(page(1, around={"nextToken": token}))
    assert ({}, {"nextToken": token}) == sent(request)


def test_paging_reference():
    """``pagingReference`` is sent back until it is 0 (pts reference, section 7)."""
    walk = state()
    request = walk.next_request(page(1, around={"pagingReference": 17}))
    assert ({"pagingReference": "17"}, {"pagingReference": 17}) == sent(request)
    assert walk.next_request(page(2, around={"pagingReference": 0})) is None
    assert state().next_request(page(1, around={"pagingReference": "0"})) is None


@pytest.mark.parametrize("first", [0, 1])
def test_page_numbers(first):
    """A page number is counted on until the total is reached, from 0 or 1."""
    walk = state()
    facts = {"pageSize": 2, "total": 5}
    numbers = [sent(walk.next_request(page(1, 2, around={"page": first, **facts})))[1]]
    numbers.append(sent(walk.next_request(page(3, 4, around={"page": first + 1, **facts})))[1])
    assert [{"page": first + 1}, {"page": first + 2}] == numbers
    assert walk.next_request(page(5, around={"page": first + 2, **facts})) is None


def test_pages_in_an_object():
    """Spring's ``page`` object and ``X-Pagination`` are understood."""
    spring = {"page": {"size": 1, "number": 0, "totalPages": 2, "totalElements": 2}}
    assert {"number": 1} == sent(state().next_request(page(1, around=spring)))[1]
    header = {"x-pagination": '{"CurrentPage": 1, "PageSize": 1, "TotalCount": 2}'}
    assert {"CurrentPage": 2} == sent(state().next_request(page(1, headers=header)))[1]


def test_a_number_of_pages_without_a_total():
    """Where only the number of pages is told, as many are read."""
    walk = state()
    first = walk.next_request(page(1, around={"page": 1, "totalPages": 2}))
    assert {"page": 2} == sent(first)[1]
    assert walk.next_request(page(2, around={"page": 2, "totalPages": 2})) is None


def test_an_empty_first_page():
    """Nothing of nothing is whole."""
    assert state().next_request(page(around={"page": 1, "total": 0})) is None


def test_a_continuation_joins_the_query():
    """A search whose URL has a query already keeps it."""
    url = URL + "?tenant=a"
    walk = PagingState(paging=Paging(), url=url, off_id=OFF_ID, pages_max=20)
    request = walk.next_request(page(1, around={"nextToken": "b"}))
    assert ({"tenant": "a", "nextToken": "b"}, {"nextToken": "b"}) == sent(request)


def test_full_pages_without_a_total():
    """Without a total a full page is followed by another, a short one is the last."""
    walk = state()
    assert walk.next_request(page(1, 2, around={"page": 1, "pageSize": 2})) is not None
    assert walk.next_request(page(3, around={"page": 2, "pageSize": 2})) is None


@pytest.mark.parametrize("name", ["offset", "skip", "startIndex"])
def test_offsets(name):
    """An offset grows by what was read until the total is reached."""
    walk = state()
    base = 1 if name == "startIndex" else 0
    first = walk.next_request(page(1, 2, around={name: base, "limit": 2, "total": 3}))
    assert {name: base + 2} == sent(first)[1]
    assert walk.next_request(page(3, around={name: base + 2, "limit": 2, "total": 3})) is None


def test_flags():
    """A flag decides where numbers would not, and a cursor with "no more" is the end."""
    walk = state()
    assert {"page": 2} == sent(walk.next_request(page(1, around={"page": 1, "hasMore": True})))[1]
    assert walk.next_request(page(2, around={"page": 2, "hasMore": False})) is None
    assert state().next_request(page(1, around={"cursor": "x", "hasMore": False})) is None


def test_an_empty_page_in_the_middle():
    """A page without records but with a continuation is followed."""
    walk = state()
    assert walk.next_request(page(around={"nextToken": "a"})) is not None
    assert walk.next_request(page(around={"nextToken": "b"})) is not None
    assert walk.next_request(page(1, around={"nextToken": ""})) is None


@pytest.mark.parametrize(
    ("around", "headers"),
    [
        ({"total": 1}, None),
        ({"TotalCount": "1"}, None),
        ({"@odata.count": 1}, None),
        ({"count": 1}, None),
        ({"total": None, "next": None, "hasMore": False, "offset": 0}, None),
        ({"hasMore": "false", "more": 0}, None),
        ({"page": 1, "totalPages": 1, "total": 1}, None),
        ({"page": 1}, None),
        ({"page": 1, "totalPages": 1}, None),
        (None, {"x-total-count": "1"}),
        (None, {"content-range": "items 0-0/1"}),
        (None, {"x-next-page": "", "x-total-pages": "1", "x-total": "1"}),
        (None, {"x-next-page": "null", "x-total-pages": "0"}),
        (None, {"x-has-more": "False", "x-next-link": " ", "x-total-pages": ""}),
        (None, {"x-next-cursor": "0"}),
        ({"nextReview": None, "skipped": 0, "truncated": False}, None),
        ({"last": True, "isLastPage": "true", "done": True, "incomplete": False}, None),
        ({"numFound": 1, "total_count": 1, "total_pages": 1, "itemsPerPage": 50}, None),
        ({"page": 1, "pageSize": 50, "total": 1}, None),
        ({"page": {"size": 20, "totalElements": 1, "totalPages": 1, "number": 0}}, None),
        ({"summary": {"totalCount": 1}, "status": {"code": 200, "durationMs": 12}}, None),
        ({"links": [{"rel": ["self"], "href": "?page=1"}, {"rel": "prev", "href": "?a"}]}, None),
        ({"range": "0-0/1", "generatedAt": "2026-11-26T10:00:00Z", "traceId": "a-1"}, None),
        (None, {"x-count": "1", "x-pages": "1", "x-is-last-page": "true"}),
        (None, {"x-ratelimit-remaining": "19", "x-envoy-attempt-count": "2"}),
        (None, {"x-cache-hits": "3", "retry-count": "2", "accept-ranges": "bytes"}),
    ],
)
def test_single_pages(around, headers):
    """An answer that says that it is whole is whole."""
    assert state().next_request(page(1, around=around, headers=headers)) is None


BAD_SINGLE: dict[str, tuple[dict[str, object] | None, dict[str, str] | None]] = {
    "total too large": ({"total": 2}, None),
    "total too small": ({"total": 0}, None),
    "count too large": ({"count": 9}, None),
    "header total": (None, {"x-total-count": "2"}),
    "two totals": ({"total": 1, "totalCount": 2}, None),
    "total in header and body": ({"total": 1}, {"x-total-count": "2"}),
    "total is no number": ({"total": "many"}, None),
    "total is negative": ({"total": -1}, None),
    "header total is no number": (None, {"x-total-count": "many"}),
    "more pages": ({"totalPages": 2}, None),
    "more, but not how": ({"hasMore": True}, None),
    "more as text, but not how": ({"hasMore": "true"}, None),
    "more as a number, but not how": ({"more": 3}, None),
    "next is a number": ({"next": 2}, None),
    "next is a word": ({"next": "abc"}, None),
    "next is true": ({"next": True}, None),
    "links.next is a number": ({"links": {"next": 2}}, None),
    "unknown continuation": ({"nextBatch": "x"}, None),
    "unknown cursor": ({"endCursor": "x"}, None),
    "unknown, nested": ({"meta": {"continuation": "x"}}, None),
    "token is an object": ({"nextToken": {"a": 1}}, None),
    "token is true": ({"nextToken": True}, None),
    "truncated": ({"truncated": True}, None),
    "partial": ({"isPartial": True}, None),
    "remaining": ({"remaining": 3}, None),
    "two tokens": ({"nextToken": "a", "continuationToken": "b"}, None),
    "two links": ({"next": "?a=1", "nextLink": "?a=2"}, None),
    "link in header and body": ({"next": "?a=1"}, {"link": "<?a=2>; rel=next"}),
    "another host": ({"next": "https://evil.example/x"}, None),
    "another host, no scheme": ({"next": "//evil.example/x"}, None),
    "another scheme": ({"next": "http://pts.example/v0.5/_search?a=1"}, None),
    "another port": ({"next": "https://pts.example:8443/x"}, None),
    "a password": ({"next": "https://u:p@pts.example/x"}, None),
    "bad port": ({"next": "https://pts.example:x/x"}, None),
    "bad host": ({"next": "https://[pts/x"}, None),
    "white space": ({"next": "/a b"}, None),
    "another host in a header": (None, {"link": "<https://evil.example/x>; rel=next"}),
    "the identifier in a link": ({"next": f"?who={OFF_ID}&a=1"}, None),
    "the identifier, encoded": ({"next": f"?who={OFF_ID[0]}%3{OFF_ID[1]}{OFF_ID[2:]}"}, None),
    "the identifier after a per cent sign": ({"next": f"?who=%{OFF_ID}"}, None),
    "the identifier in Base64": (
        {"next": "?t=" + base64.b64encode(f"x{OFF_ID}".encode()).decode()},
        None,
    ),
    "the same link": ({"next": URL}, None),
    "a link that cannot be read": (None, {"link": f"{URL}?page=2; rel=next"}),
    "unknown header": (None, {"x-continuation": "abc"}),
    "next page in a header": (None, {"x-next-page": "2"}),
    "pages in a header": (None, {"x-total-pages": "2"}),
    "a part of a range": (None, {"content-range": "items 0-0/2"}),
    "a range that is unclear": (None, {"content-range": "items 0-0/*"}),
    "pagination that is no JSON": (None, {"x-pagination": "page 1"}),
    "paging headers": (None, {"paging-headers": '{"totalCount": 9, "totalPages": 2}'}),
    "page two": ({"page": 2, "total": 1}, None),
    "page is no number": ({"page": "one"}, None),
    "offset beyond the start": ({"offset": 50, "limit": 50}, None),
    "one name, two values": ({"total": 1, "meta": {"total": 3}}, None),
}

MORE_SAID_OTHERWISE: tuple[Any, ...] = (
    *({name: False} for name in ("last", "isLast", "lastPage", "isLastPage", "isEnd", "done")),
    *({name: False} for name in ("endOfResults", "exhausted", "finished", "final")),
    *({name: 3} for name in ("totalRecords", "totalHits", "recordCount", "total_count")),
    *({name: 3} for name in ("numFound", "antall", "totaltAntall", "totalNumberOfRecords")),
    *({name: 3} for name in ("odata.count", "__count", "@count", "resultCount", "totalSize")),
    *({name: 3} for name in ("total_pages", "page_count", "pageTotal", "lastPage", "of")),
    *({name: "3"} for name in ("numberMatched", "totalItemCount", "totalNumberOfPages")),
    *({name: "abc"} for name in ("after", "marker", "nextMarker", "scrollId", "_scroll_id")),
    {"bookmark": "abc"},
    {"nesteSide": "/x?side=2"},
    *({name: True} for name in ("flereTreff", "limitReached", "limitExceeded", "isTruncated")),
    {"dropped": 2},
    {"omitted": 2},
    {"range": "0-0/3"},
    {"summary": {"totalCount": 3}},
    {"resultSet": {"inner": {"total": 3}}},
    {"header": {"hasMore": True}},
    {"response_metadata": {"next_cursor": "abc"}},
    {"meta": {"next_page": 2}},
    {"links": [{"rel": "next"}]},
    *({"links": [{"rel": rel, "href": "/x"}]} for rel in (["next"], "Next", "next last")),
    *({"links": [{name: "next", "href": "/x"}]} for name in ("type", "name")),
    {"_links": [{"rel": "next", "href": "/x"}]},
    {"_links": {"next": [{"href": "/x"}]}},
    {"info": {"links": {"next": {"href": "/x"}}}},
    {"info": {"link": {"relation": "next", "url": "/x"}}},
    *({name: [{"hasMore": True}]} for name in ("meta", "info", "paging")),
    {"info": [{"total": 3}]},
    {"a": {"b": {"c": {"hasMore": True}}}},
    {"hits": {"total": {"value": 3, "relation": "eq"}}},
    *({name: number} for name in ("recordCount", "totalRecords") for number in (3.0, "3 ", "3.0")),
    *({name: "1 of 3"} for name in ("range", "showing", "viser", "resultsShown")),
    *({"range": text} for text in ("1-1 of 3", "items 1-1/3", "1 av 3")),
    *({name: "abc"} for name in ("pageToken", "pageState", "resumeToken", "lastKey", "pageKey")),
    *({name: ["a"]} for name in ("lastEvaluatedKey", "searchAfter")),
    {"lastEvaluatedKey": {"id": "x"}},
    *({"isLast": no} for no in ("no", "False ", "nei")),
    *({name: False} for name in ("eof", "isCompleted", "fullstendig")),
    *({name: 3} for name in ("matches", "elementer", "poster", "antallSider", "maxPage")),
    *({name: 3} for name in ("totalcount", "TOTALCOUNT", "opensearch:totalResults")),
    *({name: True} for name in ("avkortet", "ufullstendig", "resultsTruncated", "hasmore")),
    {"pageInfo": {"hasNextPage": "yes", "endCursor": "abc"}},
    {"persons": {"pageInfo": {"endCursor": "abc"}}},
)
HEADERS_THAT_SAY_MORE = {
    **dict.fromkeys(("x-pages", "x-page-count", "x-item-count", "x-result-count"), "3"),
    **dict.fromkeys(("pagination-count", "x-count", "nhn-antall"), "3"),
    **dict.fromkeys(("x-next", "x-next-token", "next-token", "x-next-offset"), "abc"),
    "x-more": "true",
    "x-remaining-items": "2",
    "x-last-page": "false",
    "items-range": "0-0/3",
    **dict.fromkeys(("x-records", "x-results", "x-hits", "x-items", "total", "nhn-total"), "3"),
    **dict.fromkeys(("x-found", "x-matches", "x-max-page", "x-total-results"), "3"),
    **dict.fromkeys(("nextpage", "x-nextpage", "x-pagination-next", "nhn-next"), "2"),
    **dict.fromkeys(("x-complete", "x-last", "x-is-last"), "false"),
    **dict.fromkeys(("x-page-token", "x-resume-token", "x-ms-continuationtoken"), "abc"),
    "x-total-items": "3.0",
    "x-range": "1-1 of 3",
    "x-partial-result": "yes",
    **dict.fromkeys(("x-wp-total", "x-wp-totalpages", "x-row-count"), "3"),
    "x-page": "1/2",
    "x-response-complete": "false",
    "next-range": "id abc..",
}

HARMLESS: tuple[Any, ...] = (
    {"pageInfo": {"hasNextPage": False, "startCursor": "abc", "endCursor": "def"}},
    {"persons": {"pageInfo": {"hasNextPage": False, "endCursor": "def"}}},
    {"_shards": {"total": 5, "successful": 5, "skipped": 0, "failed": 0}, "timed_out": False},
    {"rateLimit": {"limit": 100, "remaining": 99, "reset": 60}},
    {"quota": {"total": 1000, "remaining": 997}},
    {"statistics": {"total": 12, "totalElapsedMs": 12, "databaseCalls": 4}},
    {"_count": 100},
    {"page": {"_count": 100}},
    {"info": {"link": [{"relation": "self", "url": "?_count=100"}]}},
    *({name: 12} for name in ("totalTimeMs", "totalElapsedMs", "totalMilliseconds", "antallMs")),
    *({name: 200} for name in ("resultStatus", "resultSetId", "result", "resultCode")),
    *({name: 100} for name in ("itemsRequested", "maxResults", "maxCount", "maxPages", "limit")),
    *({name: 99} for name in ("remainingCalls", "remainingQuota", "rateLimitRemaining")),
    *({name: 7} for name in ("queryCount", "requestCount", "retryCount", "cacheHits")),
    *({name: 7} for name in ("rowsExamined", "totalInSystem", "accountNumber", "itemsVersion")),
    *({name: 7} for name in ("country", "discount", "retentionCountDays", "pageSize", "top")),
    *({name: "+01:00"} for name in ("utcOffset", "timezoneOffset")),
    *({name: "https://docs.example"} for name in ("moreInfo", "moreInformation")),
    *({name: "2027-01-01"} for name in ("nextUpdate", "nextReview", "lastRun")),
    *({name: False} for name in ("endret", "lastetFraCache", "completedWithWarnings", "ended")),
    *({name: False} for name in ("finalized", "sisteVersjon", "endUser", "doneInBackground")),
    *({name: True} for name in ("supportsPaging", "paginationSupported", "limitedAccess")),
    *({name: True} for name in ("skipCache", "bookmarked", "continuous")),
    {"hasMore": "no"},
    {"truncated": "false"},
    {"hits": {"total": {"value": 1, "relation": "eq"}}},
    {"total": 1.0, "showing": "1 of 1"},
    {"status": "1 of 3", "version": "1/3"},
    {"links": {"rel": "self", "href": "?p=1"}},
)
HARMLESS_HEADERS = {
    **dict.fromkeys(("remaining-calls", "x-remaining-calls", "x-limit-remaining"), "99"),
    **dict.fromkeys(("x-remaining", "ratelimit-remaining", "x-credits-remaining"), "99"),
    **dict.fromkeys(("x-hop-count", "x-query-count", "x-connection-count", "x-shard-count"), "5"),
    **dict.fromkeys(("x-token-count", "x-served-pages", "x-forwarded-count", "x-offset"), "7"),
    **dict.fromkeys(("x-pagination-page", "x-pagination-total", "x-page", "x-page-size"), "1"),
    **dict.fromkeys(("x-deeplink", "x-next-deploy", "x-trace-marker", "x-waf-marker"), "a1"),
    **dict.fromkeys(("x-request-id", "x-ms-request-id", "traceparent", "x-linkerd-id"), "a-1"),
    "x-next-hop": "10.0.0.1",
    "x-nextgen-waf": "ok",
    "x-linkerd-meshed": "true",
    "x-downlink": "1",
    "x-total-time": "12ms",
    "x-total-duration": "12",
    "x-more-info": "https://docs.example",
    "x-ms-ratelimit-remaining-subscription-reads": "11999",
    "x-partial-result": "no",
}


@pytest.mark.parametrize("around", MORE_SAID_OTHERWISE, ids=str)
def test_more_said_in_other_words(around):
    """Other APIs' words for further pages end no area either: they are errors."""
    with pytest.raises(PagingError):
        state().next_request(page(1, around=around))


@pytest.mark.parametrize("name", HEADERS_THAT_SAY_MORE)
def test_more_said_in_another_header(name):
    """Other APIs' headers for further pages end no area either: they are errors that name it."""
    with pytest.raises(PagingError, match=f"header {name}"):
        state().next_request(page(1, headers={name: HEADERS_THAT_SAY_MORE[name]}))


def test_a_place_among_pages():
    """``1/2`` of pages is more than one page, whatever that page holds."""
    with pytest.raises(PagingError, match="header x-page"):
        state().next_request(page(1, 2, 3, headers={"x-page": "1/2"}))
    assert state().next_request(page(1, headers={"x-page": "1/1"})) is None


@pytest.mark.parametrize("around", HARMLESS, ids=str)
def test_words_about_something_else(around):
    """A field is a sign only if all of its name is about records and pages."""
    assert state().next_request(page(1, around=around)) is None


@pytest.mark.parametrize("name", HARMLESS_HEADERS)
def test_headers_about_something_else(name):
    """A gateway that counts calls, hops or connections does not stop a night."""
    assert state().next_request(page(1, headers={name: HARMLESS_HEADERS[name]})) is None


def test_the_records_are_not_their_own_envelope():
    """Where the list lies deep, only what is around it says how many there are."""
    area = with_overrides(SAFETY, {"envelope": "data.items"})
    records = [{**restriction(1), "total": 3, "hasMore": True}]
    whole = {"data": {"items": records, "count": 1}}
    assert state().next_request(read(whole, area=area)) is None
    with pytest.raises(PagingError, match="totalHits"):
        state().next_request(read({**whole, "meta": {"totalHits": 3}}, area=area))


@pytest.mark.parametrize("name", BAD_SINGLE)
def test_signs_of_more_that_cannot_be_followed(name):
    """Whatever speaks of more and cannot be followed is an error, never a silent end."""
    around, headers = BAD_SINGLE[name]
    with pytest.raises(PagingError) as caught:
        state().next_request(page(1, around=around, headers=headers))
    assert OFF_ID not in str(caught.value)
    assert "evil" not in str(caught.value)


def walk_on(walk, *pages):
    for each in pages:
        if walk.next_request(each) is None:
            break


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([({"nextToken": "a"}, 1), ({"nextToken": "a"}, 2)], "a loop"),
        ([({"next": "?a=1"}, 1), ({"next": "?a=2"}, 2), ({"next": "?a=1"}, 3)], "a loop"),
        ([({"nextToken": "a"}, 1), ({"nextToken": "b"}, 1)], "repeats a record"),
        ([({"nextToken": "a"}, 1), ({}, 1)], "repeats a record"),
        ([({"nextToken": "a", "total": 2}, 1), ({"total": 3}, 2)], "the total changed"),
        ([({"nextToken": "a", "total": 3}, 1), ({"total": 3}, 2)], "the total says 3"),
        ([({"page": 1, "total": 2}, 1), ({"page": 1, "total": 2}, 2)], "page 2 was requested"),
        ([({"offset": 0, "total": 2}, 1), ({"offset": 0, "total": 2}, 2)], "does not begin after"),
        ([({"offset": 0, "total": 3}, 1), ({"offset": 2, "total": 3}, 2)], "does not begin after"),
        ([({"page": 0, "total": 3}, 1), ({"page": 2, "total": 3}, 2)], "page 2 was requested"),
    ],
)
def test_ways_that_do_not_add_up(pages, message):
    """Loops, repeated records and changing totals are errors."""
    with pytest.raises(PagingError, match=message):
        walk_on(state(), *(page(number, around=around) for around, number in pages))


def test_an_empty_page_before_the_total():
    """A numbered page without records does not end what the total says is longer."""
    with pytest.raises(PagingError, match="an empty page after 1 of 2"):
        walk_on(
            state(),
            page(1, around={"page": 1, "total": 2}),
            page(around={"page": 2, "total": 2}),
        )


def test_too_many_pages():
    """There is an end to following."""
    walk = state(pages_max=3)
    with pytest.raises(PagingError, match="more than 3 pages"):
        walk_on(walk, *(page(n, around={"nextToken": str(n)}) for n in range(1, 9)))
    assert 3 == walk.pages


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
        (
            {"style": "token", "field": "meta.page.Continuation", "send_in": "body"},
            {"meta": {"page": {"Continuation": "a"}}},
            ({}, {"Continuation": "a"}),
        ),
        ({"style": "next_link", "field": "more"}, {"more": "?n=2"}, ({"n": "2"}, {})),
        ({"style": "page", "field": "p"}, {"p": 0}, ({"p": "1"}, {"p": 1})),
        ({"style": "page", "field": "p"}, {"p": 0, "pageSize": 1}, ({"p": "1"}, {"p": 1})),
        ({"style": "page", "field": "p"}, {}, ({"p": "2"}, {"p": 2})),
        ("page", {}, ({"page": "2"}, {"page": 2})),
        ({"style": "offset", "field": "o"}, {}, ({"o": "1"}, {"o": 1})),
        ("offset", {}, ({"offset": "1"}, {"offset": 1})),
        (
            {"style": "page", "field": "p", "send_in": "query", "total": "all"},
            {"p": 1, "all": 9},
            ({"p": "2"}, {}),
        ),
        ({"style": "page", "send_as": "_page", "send_in": "query"}, {}, ({"_page": "2"}, {})),
        ({"style": "offset", "send_as": "_skip", "send_in": "body"}, {}, ({}, {"_skip": 1})),
        (
            {"style": "reference", "send_in": "query"},
            {"pagingReference": "7"},
            ({"pagingReference": "7"}, {}),
        ),
    ],
)
def test_declared_styles(declared, around, expected):
    """A declared style takes the continuation where it was declared, and sends it there."""
    assert expected == sent(state(paging_of(declared)).next_request(page(1, around=around)))


def test_declared_link_header():
    """Where links were declared they are followed."""
    walk = state(paging_of("link"))
    request = walk.next_request(page(1, headers={"link": "<?n=2>; rel=next"}))
    assert ({"n": "2"}, {}) == sent(request)


@pytest.mark.parametrize("style", ["token", "reference", "next_link"])
@pytest.mark.parametrize("around", [{"after": None}, {"after": ""}, {"meta": {}}])
def test_a_declared_field_without_a_value_is_the_end(style, around):
    """Null, an empty text and no such field say that there is no more."""
    walk = state(paging_of({"style": style, "field": "after"}))
    assert walk.next_request(page(1, around=around)) is None


def test_a_declared_total():
    """A total of a name of its own is checked like any other."""
    paging = paging_of({"style": "token", "field": "after", "total": "meta.all"})
    assert state(paging).next_request(page(1, around={"meta": {"all": 1}})) is None
    with pytest.raises(PagingError, match="the total says 2"):
        state(paging).next_request(page(1, around={"meta": {"all": 2}}))


def test_declared_pages_of_bare_lists():
    """Declared pages that tell nothing are read up to an empty one."""
    walk = state(paging_of("page"))
    assert walk.next_request(page(1, 2)) is not None
    assert walk.next_request(page(3)) is not None
    assert walk.next_request(page()) is None


def test_a_server_that_ignores_the_page():
    """A server that gives the first page again and again is found out."""
    with pytest.raises(PagingError, match="repeats a record"):
        walk_on(state(paging_of("page")), page(1, 2), page(1, 2))


@pytest.mark.parametrize(
    ("declared", "around", "headers"),
    [
        ("none", {"nextToken": "a"}, None),
        ("none", {"links": {"next": "?a=1"}}, None),
        ("none", None, {"link": "<?a=1>; rel=next"}),
        ("none", {"hasMore": True}, None),
        ("link", {"nextLink": "?a=1"}, None),
        ("token", {"next": "?a=1"}, None),
        ("reference", {"nextToken": "a"}, None),
        ({"style": "token", "field": "after"}, {"after": {"a": 1}}, None),
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


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=8), with_total=st.booleans())
def test_a_server_that_counts_right_is_read_whole(sizes, with_total):
    """However a server cuts its list into pages, all of it is read, and then it ends."""
    walk = state()
    number = 0
    for index, size in enumerate(sizes):
        last = index == len(sizes) - 1
        around = {"nextToken": None if last else f"t{index}"}
        if with_total:
            around["total"] = sum(sizes)
        answer = page(*range(number + 1, number + size + 1), around=around)
        number += size
        assert last == (walk.next_request(answer) is None)
    assert (len(sizes), sum(sizes)) == (walk.pages, walk.items)


@given(
    total=st.integers(1, 12), size=st.integers(1, 5), lost=st.integers(1, 12), base=st.booleans()
)
def test_a_server_that_loses_a_record_is_found_out(total, size, lost, base):
    """If a page lacks a record of the total, the area is an error and not one record shorter."""
    numbers = [n for n in range(1, total + 1) if n != min(lost, total)]
    answers = [
        page(
            *numbers[index * size : (index + 1) * size],
            around={"page": index + base, "pageSize": size, "total": total},
        )
        for index in range(total + 1)
    ]
    with pytest.raises(PagingError):
        walk_on(state(), *answers)


@given(text=st.text(alphabet="<>;,=\"' relnxt/?\\ab", max_size=60))
def test_any_link_header_is_read_or_complained_about(text):
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
    assert {"https://pts.example/v0.5/_search", "https://pts.example/v0.5/_search/2"} == {
        str(url).lower().replace(":443", "").partition("?")[0] for url in followed
    }


@pytest.mark.parametrize("below", ["?page=2", "_search?page=2", "_search/2", "_search/pages/2/"])
def test_next_links_on_or_below_the_path_are_followed(below):
    """Which is where a server's own pages are."""
    headers = {"link": f"<{below}>; rel=next"}
    assert state().next_request(page(1, headers=headers)) is not None
