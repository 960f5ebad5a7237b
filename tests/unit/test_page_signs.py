"""Signs of further pages: what is one, what is none, and which cannot be followed."""

import base64
from typing import Any

import pytest

from tests.support.pages import URL, page, state
from tests.support.pts_answers import OFF_ID, SAFETY, read, restriction
from worker.core.overrides import with_overrides
from worker.errors import PagingError

pytestmark = pytest.mark.promise("1")


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

FIELDS_THAT_MEAN_MORE: tuple[Any, ...] = (
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

HEADERS_THAT_MEAN_MORE = {
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


@pytest.mark.parametrize("around", FIELDS_THAT_MEAN_MORE, ids=str)
def test_other_fields_that_mean_more_pages(around):
    """Other APIs' words for further pages end no area either: they are errors."""
    with pytest.raises(PagingError):
        state().next_request(page(1, around=around))


@pytest.mark.parametrize("name", HEADERS_THAT_MEAN_MORE)
def test_other_headers_that_mean_more_pages(name):
    """Other APIs' headers for further pages end no area either: they are errors that name it."""
    with pytest.raises(PagingError, match=f"header {name}"):
        state().next_request(page(1, headers={name: HEADERS_THAT_MEAN_MORE[name]}))


def test_a_place_among_pages():
    """``1/2`` of pages is more than one page, whatever that page holds."""
    with pytest.raises(PagingError, match="header x-page"):
        state().next_request(page(1, 2, 3, headers={"x-page": "1/2"}))
    assert state().next_request(page(1, headers={"x-page": "1/1"})) is None


@pytest.mark.parametrize("around", HARMLESS, ids=str)
def test_fields_about_something_else(around):
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
    complete = {"data": {"items": records, "count": 1}}
    assert state().next_request(read(complete, area=area)) is None
    with pytest.raises(PagingError, match="totalHits"):
        state().next_request(read({**complete, "meta": {"totalHits": 3}}, area=area))


@pytest.mark.parametrize("name", BAD_SINGLE)
def test_signs_of_more_that_cannot_be_followed(name):
    """Whatever speaks of more and cannot be followed is an error, never a silent end."""
    around, headers = BAD_SINGLE[name]
    with pytest.raises(PagingError) as caught:
        state().next_request(page(1, around=around, headers=headers))
    assert OFF_ID not in str(caught.value)
    assert "evil" not in str(caught.value)
