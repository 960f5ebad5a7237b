"""``Link`` headers (RFC 8288 §3)."""

import re
from collections.abc import Iterable
from typing import Final

_LINK: Final = re.compile(
    r"""\s*,?\s*<([^>]*)>((?:\s*;\s*[^\s=;,"]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))?)*)"""
)
_PARAMETER: Final = re.compile(r""";\s*([^\s=;,"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))""")


_CLAIM: Final = re.compile(r"""rel\s*=\s*["']?[^"';,]*\bnext\b""", re.IGNORECASE)


def claims_next(values: Iterable[str]) -> bool:
    """Whether a header speaks of a next link in a form that cannot be read."""
    return any(_CLAIM.search(_LINK.sub("", value)) for value in values)


def next_links(values: Iterable[str]) -> list[str]:
    """The targets of all links with the relation ``next``, as they stand.

    Of several ``rel`` parameters the first counts, and one may name several relations
    (RFC 8288 §3.3).
    """
    links = (link for value in values for link in _LINK.finditer(value))
    return [link[1].strip() for link in links if "next" in _relations(link[2])]


def _relations(parameters: str) -> list[str]:
    for parameter in _PARAMETER.finditer(parameters):
        if parameter[1].lower() == "rel":
            return (parameter[2] or parameter[3] or "").lower().split()
    return []
