"""Reads paging information from a response: links, tokens, numbers and totals."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import orjson

from worker.core.area import PageStyle, Paging
from worker.core.fields import Absent, find, parse_path, safe_name
from worker.core.links import claims_next, next_links
from worker.core.page_signs import (
    claimed,
    continues,
    continues_in_header,
    denies_the_end,
    flag,
    is_cursor,
    is_echo,
    is_other_subject,
    natural_number,
    plain,
    says_no,
)
from worker.core.record import Page
from worker.errors import PagingError

Scalar: TypeAlias = str | int

_NEXT_LINKS: Final = (
    "nextlink",
    "odatanextlink",
    "next",
    "nexturl",
    "nextpageurl",
    "nextpagelink",
)
TOKENS: Final = (
    "continuationtoken", "nexttoken", "nextpagetoken", "nextcursor", "cursor", "skiptoken",
)  # fmt: skip
REFERENCES: Final = ("pagingreference",)
PAGES: Final = ("page", "pagenumber", "pageindex", "currentpage", "number")
PAGE_SIZES: Final = ("pagesize", "size", "perpage", "itemsperpage", "limit")
PAGE_COUNTS: Final = ("totalpages", "pagecount", "numberofpages", "pages")
OFFSETS: Final = ("offset", "skip", "startindex")
_TOTALS: Final = (
    "total", "totalcount", "totalresults", "totalentries", "totalitems", "totalelements",
    "odatacount",
)  # fmt: skip
_FLAGS: Final = ("hasmore", "hasnext", "hasnextpage", "morepages", "more")
_NESTED: Final = frozenset({"page", "paging", "pagination", "pageinfo", "meta", "metadata"})
LINK_OBJECTS: Final = ("link", "links")
_RELATIONS: Final = ("relation", "rel", "type", "name")
_TARGETS: Final = ("url", "href")
_NOTHING: Final = frozenset({"", "0", "false", "no", "none", "null"})
_JSON_HEADERS: Final = ("x-pagination", "paging-headers")
_HEADER_TOTALS: Final = ("x-total-count", "x-total", "total-count")

_URL: Final = re.compile(r"https?:|[/?]|[^/]+[/?]")
_CONTENT_RANGE: Final = re.compile(r"\s*\w+\s+0-(\d{1,9})/(\d{1,9})\s*|\s*\w+\s+\*/0\s*")

_OF_STYLE: Final[Mapping[PageStyle, frozenset[str]]] = {
    PageStyle.LINK: frozenset(),
    PageStyle.NEXT_LINK: frozenset({*_NEXT_LINKS, *LINK_OBJECTS}),
    PageStyle.TOKEN: frozenset(TOKENS),
    PageStyle.PAGE: frozenset({*PAGES, *PAGE_SIZES, *PAGE_COUNTS}),
    PageStyle.OFFSET: frozenset({*OFFSETS, *PAGE_SIZES}),
    PageStyle.REFERENCE: frozenset(REFERENCES),
    PageStyle.NONE: frozenset(),
}
_FOLLOWED_BY_AUTO: Final[frozenset[str]] = frozenset().union(*_OF_STYLE.values())
_KNOWN: Final = _FOLLOWED_BY_AUTO.union(_TOTALS, _FLAGS, ("count",))
UNDERSTOOD: Final = _KNOWN.difference(PAGE_SIZES)
"""Names whose values are followed or checked, whatever the style; a page's size is neither."""
_DEPTH_MAX: Final = 4

_DECLARED_ONLY: Final = frozenset({PageStyle.TOKEN, PageStyle.REFERENCE, PageStyle.NEXT_LINK})
"""Styles that use only the declared field, if there is one."""


class PageFacts:
    """The paging information of a response, in any common spelling."""

    def __init__(self, page: Page, headers: tuple[str, ...], paging: Paging) -> None:
        self._headers = {name: page.headers[name] for name in headers}
        self._paging = paging
        self._envelope = page.envelope
        self._ignored = frozenset(plain(name) for name in paging.ignore)
        self._fields: dict[str, tuple[str, Any]] = {}
        self._foreign: list[tuple[str, Any]] = []
        self._collect(page.envelope)
        for name in _JSON_HEADERS:
            for value in self._headers.get(name, ()):
                self._collect(_json_object(name, value))

    def _collect(self, envelope: Mapping[str, Any]) -> None:
        for name, value in envelope.items():
            key = plain(name)
            if key in self._ignored or is_echo(name):
                continue
            if key in _NESTED and isinstance(value, dict):
                self._collect(value)
                continue
            if key not in LINK_OBJECTS and not is_other_subject(name):
                self._foreign += self._inside(value)
            known = self._fields.setdefault(key, (name, value))
            if key in _KNOWN and None not in (known[1], value) and str(known[1]) != str(value):
                raise PagingError(f"the response has {safe_name(name)} twice, with two values")

    def _inside(self, value: Any, depth: int = 1) -> Iterator[tuple[str, Any]]:
        """Names and values inside an object or list that is not known to be about pages."""
        if depth > _DEPTH_MAX:
            return
        if isinstance(value, list):
            for item in value:
                yield from self._inside(item, depth + 1)
        if not isinstance(value, dict):
            return
        ends = any(plain(name) in _FLAGS and flag(inner) is False for name, inner in value.items())
        for name, inner in value.items():
            if plain(name) in self._ignored or is_other_subject(name) or (ends and is_cursor(name)):
                continue
            if plain(name) not in _NESTED or not isinstance(inner, dict):
                yield name, inner
            if isinstance(inner, dict) and "value" in inner:
                yield name, inner["value"]
            yield from self._inside(inner, depth + 1)

    def first(self, names: tuple[str, ...]) -> tuple[str, Scalar] | None:
        """The name and value of the first token that is not empty."""
        declared = self._declared()
        candidates = [declared] if declared else [self._fields.get(name) for name in names]
        token: tuple[str, Scalar] | None = None
        for candidate in candidates:
            if candidate is None or candidate[1] in (None, "", 0, False):
                continue
            name, value = candidate
            if not isinstance(value, str | int) or isinstance(value, bool):
                raise PagingError(f"{safe_name(name)} is not a token")
            if token is not None and token[1] != value:
                raise PagingError("the response has several continuations")
            token = token or (name, value)
        return token

    def number(self, names: tuple[str, ...]) -> tuple[str, int] | None:
        """The name and value of the first of these fields."""
        declared = self._declared() if names in {PAGES, OFFSETS} else None
        for name in names:
            spelled = declared or self._fields.get(name)
            if spelled is None or spelled[1] is None:
                continue
            number = natural_number(spelled[1])
            if number is None:
                raise PagingError(f"{safe_name(spelled[0])} is not a number")
            return spelled[0], number
        return None

    def total(self) -> int | None:
        """The total number of records, if the response has it."""
        totals = {self._header_number(name) for name in _HEADER_TOTALS}
        if self._paging.total:
            declared = self._at(self._paging.total)
            totals.add(_number_of_records(declared, "the declared total"))
        else:
            totals.update(self._number_of(name) for name in _TOTALS)
        totals.discard(None)
        if len(totals) > 1:
            raise PagingError("the response has several totals")
        return totals.pop() if totals else None

    def count(self) -> int | None:
        """``count``, which means the page on some servers and all pages on others."""
        return self._number_of("count")

    def flag(self) -> bool | None:
        """Whether a flag in the response says that there are more pages."""
        flags = [flag(self._envelope_value(name)) for name in _FLAGS]
        return any(flags) if set(flags) != {None} else None

    def header_links(self) -> list[str]:
        """The targets of ``Link`` headers with ``rel=next``."""
        return next_links(self._headers.get("link", ()))

    def body_links(self) -> list[str]:
        """The next links in the body."""
        declared = self._declared()
        if declared:
            return [_target(declared[1])] if declared[1] else []
        links = [self._envelope_value(name) for name in _NEXT_LINKS] + self._linked()
        return [_target(link) for link in links if link]

    def _linked(self) -> list[Any]:
        return [link for name in LINK_OBJECTS for link in _links_in(self._envelope_value(name))]

    def refuse_unknown(self) -> None:
        """Refuse any sign of more pages that the paging style does not handle.

        Raises:
            PagingError: there is one; the message names the field or header.
        """
        understood = self._understood()
        declared = plain(self._paging.field.rpartition(".")[2])
        for key, (name, value) in self._fields.items():
            if key == declared or key in understood or not _is_continuation(name, value):
                continue
            is_understood_flag = key in _FLAGS and flag(value) is not None
            if not is_understood_flag and not (is_cursor(name) and self.flag() is False):
                raise PagingError(f"an unknown continuation: {safe_name(name)}")
        for name, value in self._foreign:
            if _is_continuation(name, value):
                raise PagingError(f"an unknown continuation: {safe_name(name)}")
        if "links" not in understood and any(self._linked()):
            raise PagingError("a next link in the body, which the declared paging does not follow")
        for name, values in self._headers.items():
            if self._is_unknown_header(name, values):
                raise PagingError(f"an unknown continuation: header {safe_name(name)}")

    def refuse_more(self, *, records: int, pages: int) -> None:
        """Refuse, on the last page, what says that there is more than was read.

        Raises:
            PagingError: it says so; the message names the field or header.
        """
        for where, name, value in self._claims():
            of_records, of_pages = claimed(name, value)
            if denies_the_end(name, value) or of_records > records or of_pages > pages:
                claims = f"{where}{safe_name(name)}"
                raise PagingError(
                    f"{claims} says that there is more than the {records} records read"
                )

    def _claims(self) -> Iterator[tuple[str, str, Any]]:
        yield from (("", name, value) for name, value in self._fields.values())
        yield from (("", name, value) for name, value in self._foreign)
        for name, values in self._headers.items():
            if name != "content-range" and not self._is_ignored_header(name):
                yield from (("header ", name, value.strip()) for value in values)

    def _understood(self) -> frozenset[str]:
        """The fields, in lower case, that the paging style handles."""
        if self._paging.field and self._paging.style in _DECLARED_ONLY:
            return frozenset()
        return _OF_STYLE.get(self._paging.style, _FOLLOWED_BY_AUTO)

    def _is_unknown_header(self, name: str, values: tuple[str, ...]) -> bool:
        if self._is_ignored_header(name) or name in _JSON_HEADERS:
            return False
        if name == "link":
            follows = self._paging.style in {PageStyle.AUTO, PageStyle.LINK}
            links = next_links(values)
            return (bool(links) and not follows) or (not links and claims_next(values))
        if name == "content-range":
            return not all(self._is_complete_range(value) for value in values)
        return continues_in_header(name) and any(
            value.strip().lower() not in _NOTHING for value in values
        )

    def _is_ignored_header(self, name: str) -> bool:
        return not {plain(name), plain(name.removeprefix("x-"))}.isdisjoint(self._ignored)

    def _is_complete_range(self, value: str) -> bool:
        form = _CONTENT_RANGE.fullmatch(value)
        return form is not None and (form[1] is None or int(form[1]) + 1 == int(form[2]))

    def _declared(self) -> tuple[str, Any] | None:
        path = self._paging.field
        return (path.rpartition(".")[2], self._at(path)) if path else None

    def _at(self, path: str) -> Any:
        value = find(dict(self._envelope), parse_path(path))
        return None if isinstance(value, Absent) else value

    def _envelope_value(self, name: str) -> Any:
        return self._fields[name][1] if name in self._fields else None

    def _number_of(self, name: str) -> int | None:
        return _number_of_records(self._envelope_value(name), safe_name(name))

    def _header_number(self, name: str) -> int | None:
        text = "".join(self._headers.get(name, ())[:1]).strip()
        return _number_of_records(text or None, f"header {name}")


def _number_of_records(value: Any, what: str) -> int | None:
    """A number of records; None if there is none.

    Raises:
        PagingError: it is something else.
    """
    number = natural_number(value)
    if number is None and value is not None:
        raise PagingError(f"{what} is not a number of records")
    return number


def _links_in(value: Any) -> list[Any]:
    """The next links of ``links: {next: …}`` or of ``link: [{relation: next, url: …}]``."""
    links = value if isinstance(value, list) else [value]
    found: list[Any] = []
    for link in links:
        fields = {plain(k): v for k, v in link.items()} if isinstance(link, dict) else {}
        if link is value and "next" in fields:
            found.append(fields["next"])
        if any("next" in _relations(fields.get(name)) for name in _RELATIONS):
            # A next link without a known target is one that cannot be followed.
            found.append(next((fields[name] for name in _TARGETS if name in fields), True))
    return found


def _is_continuation(name: str, value: Any) -> bool:
    """Whether a field of an object that is not about pages says how to go on."""
    if plain(name) in {"rel", "relation"} and "next" in _relations(value):
        return True
    return bool(value) and not says_no(value) and continues(name)


def _relations(value: Any) -> list[str]:
    """Relations as a list or as one text with blanks between them (RFC 8288 §3.3)."""
    names = value if isinstance(value, list) else [value]
    return [word for name in names if isinstance(name, str) for word in name.lower().split()]


def _target(link: Any) -> str:
    """A next link's URL, which may be relative."""
    url = (link.get("href") or link.get("url")) if isinstance(link, dict) else link
    if not isinstance(url, str) or not _URL.match(url):
        raise PagingError("a next link in the body that is not a URL")
    return url


def _json_object(header: str, text: str) -> Mapping[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise PagingError(f"header {header} is not a JSON object")
    return value
