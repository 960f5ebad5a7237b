"""Whether a response says that a cache stored it, so that it says nothing of now."""

import re
from collections.abc import Mapping
from typing import Final

_HIT: Final = re.compile(r"(?<![a-z])(?:(?:refresh)?hit|stale|updating|revalidated)(?![a-z])")
_PARAMETER: Final = re.compile(r"(?:^|;)\s*(?:hit|collapsed)\s*(?:=\s*\?1\s*)?(?=[;,]|$)")
_WARNING: Final = re.compile(r"(?:^|,)\s*11[0-3](?![0-9])")
_NUMBER: Final = re.compile(r"(?<![0-9])0*[1-9]")

_SIGNS: Final[Mapping[str, re.Pattern[str]]] = {
    # Not 0: Varnish and what is made of it send that with what they have just fetched.
    "age": re.compile(r"^(?!\s*0+\s*$)"),
    "cache-status": re.compile(f"{_PARAMETER.pattern}|^{_HIT.pattern}"),
    "warning": _WARNING,
    "x-cache-hits": _NUMBER,
    "x-varnish": re.compile(r"[0-9]\s+[0-9]"),
    **dict.fromkeys(
        (
            "akamai-cache-status", "cdn-cache", "cf-cache-status", "x-cache", "x-cache-remote",
            "x-cache-status", "x-drupal-cache", "x-fastcgi-cache", "x-litespeed-cache",
            "x-nginx-cache", "x-proxy-cache", "x-proxy-cache-status", "x-varnish-cache",
            "x-vercel-cache",
        ),
        _HIT,
    ),
}  # fmt: skip
"""By header, what says so in a value in lower case.

``Age``: RFC 9111 §5.1; ``Warning`` 110 to 113: RFC 7234 §5.5; ``Cache-Status``: RFC 9211 §2;
``X-Varnish`` with the number of an earlier request as well; the others as caches write them.
"""


def is_from_cache(headers: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the headers, by lower-case name, say that the response comes from a cache.

    A header that says so in a value that is not understood (``Age: soon``) says so, too. An ``Age``
    of 0 does not: some proxies add it to every response.
    """
    return any(
        _SIGNS[name].search(value.lower())
        for name in _SIGNS.keys() & headers.keys()
        for value in headers[name]
    )
