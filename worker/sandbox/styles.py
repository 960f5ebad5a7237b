"""The styles of challenges and of paging that can be chosen."""

from typing import Final

BEARER: Final = "bearer"
DPOP: Final = "dpop"
CHALLENGE_STYLES: Final = (BEARER, DPOP)

PAGING_STYLES: Final = ("none", "link", "next_link", "token", "page", "paging_reference")
"""
- ``none``: a bare array.
- ``link``: a bare array, ``Link: <…?cursor=…>; rel="next"`` (RFC 8288).
- ``next_link``: ``{"items": [...], "nextLink": "<url>" | null}``.
- ``token``: ``{"items": [...], "continuationToken": "…" | null}``; sent back in the body.
- ``page``: ``{"items": [...], "page": 1, "pageSize": 2, "total": 5}``; ``page`` in the body.
- ``paging_reference``: ``{"items": [...], "pagingReference": n}``, 0 at the end, as PVK does.

``cursor``, ``continuationToken``, ``page``, ``pageSize`` and ``pagingReference`` are read from the
body or the query, case-insensitively.
"""
