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
        *(f"Age: {age}" for age in ("1", "0, 1", "-1", "", "soon")),
        *(f"Cache-Status: {text}" for text in ("edge;HIT;ttl=3", "a; hit, b; fwd=uri")),
        'Warning: 199 - "x", 110 - "Response is Stale"',
        *(f"X-Cache: {text}" for text in ("Hit from cloudfront", "TCP_MEM_HIT from a23")),
        *(f"X-Cache-Status: {text}" for text in ("STALE", "REVALIDATED")),
        "X-Varnish: 32770 3",
    ],
)
def test_stored(line):
    """In whatever way a cache says it."""
    assert says(line)
    assert says("X-Cache: MISS", line, "Age: 0")


@pytest.mark.parametrize(
    "line",
    [
        "Age: 0",
        *(f"Cache-Status: {text}" for text in ("edge; fwd=stale", "a; hit=?0", "hits; fwd=miss")),
        *(f"X-Cache: {text}" for text in ("MISS from white", "whitelisted")),
        "X-Varnish: 32770",
        "Cache-Control: no-store, stale-if-error=0",
    ],
)
def test_fresh(line):
    """What a proxy adds to each response, and names that only look like it."""
    assert not says(line)
