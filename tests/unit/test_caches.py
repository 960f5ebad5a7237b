"""Which headers say that a cache stored the response."""

import pytest

from worker.core.caches import is_from_cache

pytestmark = pytest.mark.promise("1")


def says(*lines: str) -> bool:
    """The decision for header lines as they are sent."""
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = (*headers.get(name.lower(), ()), value.strip())
    return is_from_cache(headers)


@pytest.mark.parametrize(
    "line",
    [
        *(f"Age: {age}" for age in ("1", "3600", "0, 1", "-1", "", "soon", "0.5")),
        *(
            f"Cache-Status: {text}"
            for text in ("edge; hit", "edge;HIT;ttl=3", "a; hit, b; fwd=uri")
        ),
        *(f"Cache-Status: {text}" for text in ("edge; hit=?1", "edge; fwd=miss; collapsed", "HIT")),
        *(f"Warning: {code} - x" for code in (110, 111, 112, 113)),
        'Warning: 199 - "x", 110 - "Response is Stale"',
        *(f"X-Cache: {text}" for text in ("HIT", "Hit from cloudfront", "HIT from proxy")),
        *(f"X-Cache: {text}" for text in ("TCP_MEM_HIT from a23", "MISS, HIT", "HIT, MISS")),
        *(f"X-Cache: {text}" for text in ("RefreshHit from cloudfront", "TCP_REFRESH_HIT")),
        *(f"X-Cache-Status: {text}" for text in ("HIT", "STALE", "UPDATING", "REVALIDATED")),
        *(f"{name}: HIT" for name in ("X-Proxy-Cache", "CF-Cache-Status", "x-drupal-cache")),
        *(f"X-Cache-Hits: {text}" for text in ("1", "0, 3", "10")),
        "X-Varnish: 32770 3",
        "Akamai-Cache-Status: Hit from child",
    ],
)
def test_stored(line):
    """In whatever way a cache says it."""
    assert says(line)
    assert says("X-Cache: MISS", line, "Age: 0")


@pytest.mark.parametrize(
    "line",
    [
        *(f"Age: {age}" for age in ("0", " 00 ")),
        *(f"Cache-Status: {text}" for text in ("edge; fwd=stale", "hits; fwd=miss", "a; hit=?0")),
        *(
            f"Cache-Status: {text}"
            for text in ("edge; fwd=miss; stored", "white-hit-list; fwd=uri")
        ),
        *(f"Warning: {code} - x" for code in (199, 214, 299, 1100)),
        *(f"X-Cache: {text}" for text in ("MISS", "MISS from white", "Miss from cloudfront")),
        *(f"X-Cache-Status: {text}" for text in ("MISS", "BYPASS", "EXPIRED", "DYNAMIC", "PASS")),
        *(f"X-Cache-Hits: {text}" for text in ("0", "0, 0")),
        "X-Cache: TCP_MISS from a23-1.deploy.example (AkamaiGHost)",
        "X-Cache: whitelisted",
        "X-Varnish: 32770",
        "Cache-Control: no-store, stale-if-error=0",
        "X-Request-Id: hit",
    ],
)
def test_fresh(line):
    """What a proxy adds to each response, and names that only look like it."""
    assert not says(line)
