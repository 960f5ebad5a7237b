"""Signs of further pages: what is one, what is none, and which cannot be followed."""

import base64
from typing import Any

import pytest

from tests.support.pages import URL, page, state
from tests.support.pts_answers import OFF_ID, SAFETY, read, restriction
from worker.core.overrides import with_overrides
from worker.errors import PagingError

pytestmark = pytest.mark.promise("1")

WHOLE: tuple[Any, ...] = (
    {"total": 1, "next": None, "hasMore": False, "offset": 0},
    {"page": {"size": 20, "totalElements": 1, "totalPages": 1, "number": 0}},
    {"last": True, "isLastPage": "true", "done": True, "incomplete": False},
    {"links": [{"rel": ["self"], "href": "?page=1"}, {"rel": "prev", "href": "?a"}]},
    {"range": "0-0/1", "generatedAt": "2026-11-26T10:00:00Z", "traceId": "a-1"},
    {"_shards": {"total": 5, "successful": 5, "skipped": 0, "failed": 0}, "timed_out": False},
    {"rateLimit": {"limit": 100, "remaining": 99, "reset": 60}, "remainingCalls": 99},
    {"nextUpdate": "2027-01-01", "moreInfo": "https://docs.example", "utcOffset": "+01:00"},
)
WHOLE_HEADERS = (
    {"x-total-count": "1", "content-range": "items 0-0/1"},
    {"x-next-page": "", "x-total-pages": "1", "x-has-more": "False"},
    {"x-ratelimit-remaining": "19", "retry-count": "2", "accept-ranges": "bytes"},
    {"x-next-hop": "10.0.0.1", "x-total-time": "12ms", "x-request-id": "a-1", "x-page-size": "1"},
)


@pytest.mark.parametrize("around", WHOLE, ids=str)
def test_fields_of_a_single_page(around):
    """An answer that says that it is whole is whole; so is one that speaks of something else."""
    assert state().next_request(page(1, around=around)) is None


@pytest.mark.parametrize("headers", WHOLE_HEADERS, ids=str)
def test_headers_of_a_single_page(headers):
    """A gateway that counts calls, hops or connections does not stop a night."""
    assert state().next_request(page(1, headers=headers)) is None


MORE: tuple[Any, ...] = (
    {"total": 2},
    {"total": 0},
    {"total": "many"},
    {"totalPages": 2},
    {"hasMore": "true"},
    {"next": 2},
    {"meta": {"continuation": "x"}},
    {"nextToken": "a", "continuationToken": "b"},
    {"truncated": True},
    {"next": "https://evil.example/x"},
    {"next": "http://pts.example/v0.5/_search?a=1"},
    {"next": "https://u:p@pts.example/x"},
    {"next": URL},
    {"next": f"?who={OFF_ID}&a=1"},
    {"next": "?t=" + base64.b64encode(f"x{OFF_ID}".encode()).decode()},
    {"page": 2, "total": 1},
    {"offset": 50, "limit": 50},
    *({name: False} for name in ("last", "isLastPage", "endOfResults", "fullstendig")),
    *({name: 3} for name in ("totalRecords", "numFound", "antall", "__count", "page_count")),
    *({name: "abc"} for name in ("nextMarker", "_scroll_id", "bookmark", "pageState")),
    *({name: True} for name in ("flereTreff", "limitExceeded", "resultsTruncated", "avkortet")),
    {"range": "0-0/3"},
    {"a": {"b": {"c": {"hasMore": True}}}},
    {"lastEvaluatedKey": {"id": "x"}},
)
MORE_HEADERS = {
    "x-total-count": "2",
    "link": f"{URL}?page=2; rel=next",
    "x-next-page": "2",
    "x-total-pages": "2",
    "content-range": "items 0-0/*",
    "x-pagination": "page 1",
    "x-continuation": "abc",
    "x-remaining-items": "2",
    "x-last-page": "false",
    "nhn-antall": "3",
    "next-range": "id abc..",
    "x-page": "1/2",
}


@pytest.mark.parametrize(
    ("around", "headers"),
    [
        *((around, None) for around in MORE),
        *((None, {name: value}) for name, value in MORE_HEADERS.items()),
    ],
    ids=str,
)
def test_signs_of_more_that_cannot_be_followed(around, headers):
    """Whatever speaks of more and cannot be followed is an error, never a silent end."""
    with pytest.raises(PagingError) as caught:
        state().next_request(page(1, around=around, headers=headers))
    assert OFF_ID not in str(caught.value)
    assert "evil" not in str(caught.value)


def test_the_records_are_not_their_own_envelope():
    """Where the list lies deep, only what is around it says how many there are."""
    area = with_overrides(SAFETY, {"envelope": "data.items"})
    records = [{**restriction(1), "total": 3, "hasMore": True}]
    complete = {"data": {"items": records, "count": 1}}
    assert state().next_request(read(complete, area=area)) is None
    with pytest.raises(PagingError, match="totalHits"):
        state().next_request(read({**complete, "meta": {"totalHits": 3}}, area=area))
