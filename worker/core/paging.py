"""Decides what to request after a page, from the response; does no I/O.

Stopping too early would silently lose restrictions. So every sign of more pages must be followed,
or the area is an error, and the totals must match at the end.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import msgspec
import orjson

from worker.core.answer_forms import Form, form_of
from worker.core.area import PageStyle, Paging, SendIn
from worker.core.page_facts import (
    LINK_OBJECTS,
    OFFSETS,
    PAGE_COUNTS,
    PAGE_SIZES,
    PAGES,
    REFERENCES,
    TOKENS,
    UNDERSTOOD,
    PageFacts,
    Scalar,
)
from worker.core.page_signs import paging_headers, plain
from worker.core.recogniser import Recogniser
from worker.core.record import Page
from worker.core.value import Value
from worker.errors import PagingError

_COUNTED: Final = frozenset({PageStyle.PAGE, PageStyle.OFFSET})
CONTINUATION_MAX: Final = 8 * 1024
"""Maximum length of a link or token. Many servers refuse longer URLs, and each is searched for
identifiers, which takes seconds with a megabyte."""
_LINKS_MAX: Final = 10
"""Ways to write one next link in a response, each of which is examined."""
_BELOW: Final = re.compile(r"/?|(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)+/?")


class PageRequest(Value, frozen=True, kw_only=True):
    """The request for one page.

    Attributes:
        url: the URL; it has the same origin as the first request.
        fields: body fields in addition to the area's template.
    """

    hidden = frozenset({"url", "fields"})

    url: str
    fields: Mapping[str, Scalar] = msgspec.field(default_factory=dict)


class PagingState:
    """The state of reading one person's area page by page.

    Args:
        url: the URL of the first request.
        off_id: the requested identifier, which must not appear in a URL.

    Attributes:
        first: the request for the first page.
    """

    def __init__(self, *, paging: Paging, url: str, off_id: str, pages_max: int) -> None:
        self._paging = paging
        self.first = PageRequest(url=url)
        self._off_id = off_id
        self._pages_max = pages_max
        self._request = self.first
        self._total: int | None = None
        self._asked: set[tuple[str, bytes]] = set()
        self._keys: set[str] = set()
        self._first_number: int | None = None
        self.pages = 0
        self.items = 0

    def next_request(self, page: Page) -> PageRequest | None:
        """The request for the next page; None after the last page.

        Raises:
            PagingError: a loop, a wrong total, too many pages, or an unknown sign of more pages.
        """
        self.pages += 1
        self.items += page.item_count
        headers = paging_headers(tuple(page.headers))
        if not (page.envelope or headers or self._asked or self._paging.style in _COUNTED):
            return None
        facts = PageFacts(page, headers, self._paging)
        self._check_total(facts)
        request = self._continuation(facts, page)
        facts.refuse_unknown()
        if request is None:
            self._check_end(facts, page)
        else:
            self._check_loop(request, page)
            self._request = request
        return request

    def form(self, page: Page) -> Form:
        """The form of this page, the latest."""
        has_repeats = page.item_count > len(page.records)
        if not (page.envelope or has_repeats):
            return frozenset()
        return form_of(
            page.envelope,
            has_repeats=has_repeats,
            understood=UNDERSTOOD,
            ignored=frozenset({*LINK_OBJECTS, *map(plain, self._paging.ignore)}),
            sizes=PAGE_SIZES,
            page_items=page.item_count,
            items=self.items,
        )

    def _check_total(self, facts: PageFacts) -> None:
        total = facts.total()
        if total is None:
            return
        if self._total is not None and self._total != total:
            raise PagingError(f"the total changed from {self._total} to {total} between pages")
        self._total = total

    def _check_end(self, facts: PageFacts, page: Page) -> None:
        if self._total is not None and self._total != self.items:
            raise PagingError(f"the total says {self._total} records, {self.items} were read")
        count = facts.count()
        if count is not None and count not in {self.items, page.item_count}:
            raise PagingError(f"the count says {count} records, {self.items} were read")
        pages = facts.number(PAGE_COUNTS)
        if pages is not None and pages[1] > self.pages:
            raise PagingError(f"the response says {pages[1]} pages, {self.pages} were read")
        facts.refuse_more(records=self.items, pages=self.pages)
        self._check_repeats(page)

    def _check_loop(self, request: PageRequest, page: Page) -> None:
        if self.pages >= self._pages_max:
            raise PagingError(f"more than {self._pages_max} pages")
        for asked in (self._request, request):
            seen = (asked.url, orjson.dumps(dict(asked.fields), option=orjson.OPT_SORT_KEYS))
            if asked is request and seen in self._asked:
                raise PagingError(f"a loop: page {self.pages + 1} was requested before")
            self._asked.add(seen)
        self._check_repeats(page)

    def _check_repeats(self, page: Page) -> None:
        for record in page.records:
            if record.key in self._keys:
                raise PagingError(f"page {self.pages} repeats a record of an earlier page")
        self._keys.update(record.key for record in page.records)

    def _continuation(self, facts: PageFacts, page: Page) -> PageRequest | None:
        request = self._by_style(facts, page)
        if request is None and facts.flag():
            raise PagingError("the response says that there is more, but not how to get it")
        return request

    def _by_style(self, facts: PageFacts, page: Page) -> PageRequest | None:
        match self._paging.style:
            case PageStyle.AUTO:
                return self._by_any(facts, page)
            case PageStyle.LINK:
                return self._by_link(facts.header_links())
            case PageStyle.NEXT_LINK:
                return self._by_link(facts.body_links())
            case PageStyle.TOKEN:
                return self._by_token(facts, TOKENS)
            case PageStyle.REFERENCE:
                return self._by_token(facts, REFERENCES)
            case PageStyle.PAGE | PageStyle.OFFSET:
                return self._by_number(facts, page, self._paging.style)
            case PageStyle.NONE:
                return None

    def _by_any(self, facts: PageFacts, page: Page) -> PageRequest | None:
        """The continuation in the response, most reliable style first."""
        # Some servers send a cursor even on the last page, with a flag that there is no more.
        tokens = TOKENS if facts.flag() is not False else tuple(t for t in TOKENS if t != "cursor")
        return (
            self._by_link(facts.header_links() + facts.body_links())
            or self._by_token(facts, tokens)
            or self._by_token(facts, REFERENCES)
            or self._by_number(facts, page, PageStyle.PAGE)
            or self._by_number(facts, page, PageStyle.OFFSET)
        )

    def _by_link(self, targets: list[str]) -> PageRequest | None:
        spellings = set(targets)
        are_few = len(spellings) <= _LINKS_MAX
        urls = {self._resolved(target) for target in spellings} if are_few else spellings
        if len(urls) > 1:
            raise PagingError("the response has several next links")
        return PageRequest(url=urls.pop()) if urls else None

    def _resolved(self, target: str) -> str:
        """A next link as an absolute URL of the same origin, without the person's identifier."""
        _check_length(target)
        try:
            url = urlsplit(urljoin(self._request.url, target))
            same = _origin(url.geturl()) == _origin(self.first.url)
        except ValueError:
            raise PagingError("the next link is not a URL") from None
        if not same or url.username is not None:
            raise PagingError("the next link leads to another server")
        if not self._is_own_path(url.path):
            raise PagingError("the next link leaves the area's path")
        # Not the origin, which is our own: 127.0.0.1:44321 has eleven digits, too.
        if self._names_person(f"{url.path}?{url.query}#{url.fragment}"):
            raise PagingError("the next link holds the person's identifier")
        if re.search(r"[\x00-\x20\x7f]", url.geturl()):
            raise PagingError("the next link is not a URL")
        return urlunsplit(url._replace(fragment=""))

    def _is_own_path(self, path: str) -> bool:
        """Whether a path is the area's or below it, however a server decodes it."""
        own = urlsplit(self.first.url).path.rstrip("/")
        rest = path.removeprefix(own)
        return path.startswith(own) and _BELOW.fullmatch(rest) is not None

    def _by_token(self, facts: PageFacts, names: tuple[str, ...]) -> PageRequest | None:
        continuation = facts.first(names)
        if continuation is None or (names is REFERENCES and continuation[1] == "0"):
            return None
        name, token = continuation
        return self._with_fields({self._paging.send_as or name: token})

    def _by_number(self, facts: PageFacts, page: Page, style: PageStyle) -> PageRequest | None:
        """The next page by its number, or by the number of records before it."""
        is_page = style is PageStyle.PAGE
        names: tuple[str, ...] = PAGES if is_page else OFFSETS
        before = self.pages - 1 if is_page else self.items - page.item_count
        current = facts.number(names)
        if current is None:
            if self._paging.style is not style:
                return None
            # Declared, but not in the response: pages are counted from 1, up to an empty one.
            current = self._paging.field or names[0], before + is_page
        name, number = current
        first = number - before
        if first not in {0, 1} or self._first_number not in {None, first}:
            raise PagingError(
                f"page {self.pages} was requested, another one was returned"
                if is_page
                else f"the response does not begin after the {before} records read"
            )
        self._first_number = first
        if not self._more(facts, page):
            return None
        return self._with_fields(
            {self._paging.send_as or name: number + (1 if is_page else page.item_count)}
        )

    def _more(self, facts: PageFacts, page: Page) -> bool:
        """Whether another page follows a numbered page."""
        flag = facts.flag()
        if flag is not None:
            return flag
        if self._total is not None:
            if self.items < self._total and page.item_count == 0:
                raise PagingError(f"an empty page after {self.items} of {self._total} records")
            return self.items < self._total
        pages = facts.number(PAGE_COUNTS)
        if pages is not None:
            return self.pages < pages[1]
        size = facts.number(PAGE_SIZES)
        least = size[1] if size else 1 if self._paging.style in _COUNTED else page.item_count + 1
        return page.item_count >= max(1, least)

    def _with_fields(self, fields: Mapping[str, Scalar]) -> PageRequest:
        """The first request, with the continuation in body or query."""
        place = self._paging.send_in
        for value in fields.values():
            _check_length(str(value))
        if any(self._names_person(str(value)) for value in fields.values()):
            if place is SendIn.QUERY:
                raise PagingError("the continuation holds the person's identifier")
            place = SendIn.BODY
        url = self.first.url
        if place is not SendIn.BODY:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}"
        return PageRequest(url=url, fields={} if place is SendIn.QUERY else fields)

    def _names_person(self, text: str) -> bool:
        """Whether a text holds any person's identifier, in any encoding."""
        recogniser = Recogniser(str, own=self._off_id)
        return self._off_id in text or recogniser.text(text) != text or bool(recogniser.find(text))


def _check_length(continuation: str) -> None:
    if len(continuation) > CONTINUATION_MAX:
        raise PagingError(f"a continuation of more than {CONTINUATION_MAX} characters")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    ports = {"http": 80, "https": 443}
    return parts.scheme, parts.hostname, parts.port or ports.get(parts.scheme)
