"""Signs in a response that there is more than the records in it, in any common spelling.

The response format of PTS is not documented, so a name is judged by the words in it. A sign that is
not understood must never pass for the end: the records after it would be closed.
"""

import re
from functools import lru_cache
from typing import Any, Final

_NOT_PLAIN: Final = re.compile(r"[^a-z0-9]")
_CONTINUES: Final = re.compile(
    r"next|neste|continu|cursor|more|flere|skip|paging|pagination|offset|partial|truncat|incomplete"
    r"|remaining|marker|scroll|bookmark|dropped|omitted|limit(?:ed|reached|exceeded)|^after$"
)
_ENDS: Final = re.compile(
    r"^(?:is|er)?(?:last|siste|final|end|complete|done|finished|ferdig|exhausted)"
)
_COUNTS: Final = re.compile(
    r"total|count|found|matched|hits|treff|antall|records|elements|results|items|^of$"
)
_COUNTS_PAGES: Final = re.compile(r"pages|pagecount|pagetotal|lastpage|sider")
_SIZE_OF_A_PAGE: Final = re.compile(r"pagesize|per|max|limit|account|discount|country|county")
_PART: Final = re.compile(r"\s*(?:\w+\s+)?\d{1,9}\s*-\s*(\d{1,9})\s*/\s*(\d{1,9})\s*")

_HEADER_CONTINUES: Final = re.compile(
    r"link|(?:^|-)next(?:-|$)|continu|cursor|paging|paginat|(?:^|-)more(?:-|$)|truncat|partial"
    r"|content-range|x-total|total-count|total-pages|(?:^|-)remaining|marker|scroll"
)
_HEADER_COUNTS: Final = re.compile(
    r"count$|pages$|last-page|antall|(?:items?|results?|records)-range|is-last"
)
_HEADER_OF_OTHERS: Final = re.compile(
    r"rate-?limit|quota|attempt|retr|cache|requests?-|calls-|nextjs|permitted|remaining-time"
)
_NUMBER_MAX: Final = 999_999_999
_FLAGS: Final = {"true": True, "false": False}


def plain(name: str) -> str:
    """A field's name in lower case, letters and digits only: ``next_link`` is ``nextLink``."""
    return _NOT_PLAIN.sub("", name.lower())


def continues(name: str) -> bool:
    """Whether a plain name speaks of a continuation."""
    return _CONTINUES.search(name) is not None


@lru_cache(maxsize=256)
def paging_headers(names: tuple[str, ...]) -> tuple[str, ...]:
    """The headers, of these in lower case, that could say that there is more."""
    return tuple(
        name
        for name in names
        if (continues_in_header(name) or _HEADER_COUNTS.search(name))
        and not _HEADER_OF_OTHERS.search(name)
    )


def continues_in_header(name: str) -> bool:
    """Whether a header's name, in lower case, speaks of a continuation."""
    return _HEADER_CONTINUES.search(name) is not None


def claimed(name: str, value: Any) -> tuple[int, int]:
    """How many records and pages there are, by a field with a plain name; 0 if it does not say.

    A value that is a part of a range (``0-24/80``) claims all of the range.
    """
    if isinstance(value, str) and (part := _PART.fullmatch(value)):
        return int(part[2]), 0
    number = natural_number(value)
    if number is None or _SIZE_OF_A_PAGE.search(name):
        return 0, 0
    if _COUNTS_PAGES.search(name):
        return 0, number
    return (number, 0) if _COUNTS.search(name) else (0, 0)


def denies_the_end(name: str, value: Any) -> bool:
    """Whether a field with a plain name says that this is not the last page: ``last: false``."""
    return flag(value) is False and _ENDS.search(name) is not None


def flag(value: Any) -> bool | None:
    """A boolean, also as text; None if it is neither true nor false."""
    if isinstance(value, bool):
        return value
    return _FLAGS.get(value.strip()[:6].lower()) if isinstance(value, str) else None


def natural_number(value: Any) -> int | None:
    """A number of records or pages, also as text; None if it is not one.

    Messages show such numbers, so a number of eleven digits, which could be an identifier, is not
    accepted.
    """
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:18])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _NUMBER_MAX:
        return None
    return value
