"""Follows the pages of one person's area to the last page, in the declared style.

All declared fields about pages are checked: whether another page follows, the number of pages, the
number of this page, the total. If an answer contradicts itself or an earlier page, the read is not
complete.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from worker.core.answer import Answer, check_text
from worker.core.contract import (
    AreaContract,
    LinkPaging,
    NextLinkPaging,
    OffsetPaging,
    PagePaging,
    ReferencePaging,
    SendingPaging,
    TokenPaging,
)
from worker.core.value import Value
from worker.errors import PagingError

RECORDS_MAX: Final = 5_000
"""Maximum number of records of one person and area."""
RECEIVED_BYTES_MAX: Final = 32 * 1024 * 1024
"""Maximum size of all responses for one person and area, so that hostile responses use less than
64 MiB of memory (``docs/limits.md``). ``TransportOptions.response_bytes_max`` limits one response.
"""
PAGES_MAX: Final = 1_000
"""Maximum number of pages of one person and area. More pages count as a loop."""
CONTINUATION_MAX: Final = 2_000
"""Maximum length of a token or a next link."""

_LINK: Final = re.compile(
    r"""[\s,]*+<([^<>]*+)>((?:\s*+;\s*+[\w!#$%&'*+.^`|~-]++(?:\s*+=\s*+(?:"[^"]*+"|[^\s,;"]++))?)*+)\s*+(?=,|\Z)"""
)
"""One link of a Link header: its target and its parameters. All quantifiers are possessive, so
that a hostile header cannot cause backtracking."""
_PARAMETER: Final = re.compile(
    r""";\s*+([\w!#$%&'*+.^`|~-]++)(?:\s*+=\s*+(?:"([^"]*+)"|([^\s,;"]++)))?"""
)
_PATH_BELOW: Final = re.compile(r"(/(?!\.{1,2}(/|$))[\w.~-]*)*", re.ASCII)
"""The rest of a URL's path, without the segments `.` and `..` and without percent-encoding, by
which a server could leave the path."""
_NON_DIGIT: Final = re.compile(r"[^0-9]")
_BLANK_OR_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")

_Scalar: TypeAlias = str | int


class PageRequest(Value, frozen=True, kw_only=True):
    """The request for the next page: the URL, and the fields to add to the body."""

    hidden = frozenset({"url", "fields"})

    url: str
    fields: Mapping[str, _Scalar] = msgspec.field(default_factory=dict)


class PagingState:
    """The pages of one person's area.

    Args:
        url: the area's address, with its query.
        off_id: the person's identifier, which must not appear in a URL.
    """

    def __init__(self, *, contract: AreaContract, url: str, off_id: str) -> None:
        self._contract = contract
        self._paging = contract.paging
        self._url = url
        self._off_id = off_id
        self._keys = set[str]()
        self._requested = set[tuple[Any, ...]]()
        self._counts = dict[str, int]()  # declared numbers by place, from the first page
        self._pages = 0
        self.record_count = 0
        """Records read so far."""
        self.first = self._request = self._first_request()
        self._add_request(self.first)

    def next_request(self, answer: Answer, keys: Iterable[str]) -> PageRequest | None:
        """Add a page. Return the request for the next page, or None after the last page.

        Args:
            keys: the keys of the page's records.

        Raises:
            PagingError: the pages cannot be read to the last one.
            ContractError: a declared number is missing.
        """
        self._add_page(keys)
        if answer.is_empty_by_status:
            self._check_only_page(answer)
            return None
        total = self._count(self._contract.total, answer) if self._contract.total else None
        request = self._continuation(answer, total)
        if request is None:
            if total is not None and total != self.record_count:
                raise PagingError(
                    f"the total is {total} records, but {self.record_count} were read"
                )
            return None
        if self._pages >= PAGES_MAX:
            raise PagingError(f"more than {PAGES_MAX} pages")
        self._add_request(request)
        return request

    def _check_only_page(self, answer: Answer) -> None:
        """Check that an answer without records, by its status, has no page before or after it."""
        # "No records" after a page with records could hide the rest of them.
        has_link = isinstance(self._paging, LinkPaging) and self._continuation(answer, None)
        if has_link or self._pages > 1:
            raise PagingError(f"page {self._pages} has a status that means no records")

    def _add_request(self, request: PageRequest) -> None:
        key = (request.url, *sorted(request.fields.items()))
        if key in self._requested:
            raise PagingError(f"a loop: page {self._pages + 1} was requested before")
        self._requested.add(key)
        self._request = request

    def _add_page(self, keys: Iterable[str]) -> None:
        self._pages += 1
        for key in keys:
            # A record that moved to a later page may have pushed an unread one to an earlier page.
            if key in self._keys:
                raise PagingError(f"page {self._pages} repeats a record")
            self._keys.add(key)
        self.record_count = len(self._keys)

    def _first_request(self) -> PageRequest:
        match self._paging:
            case PagePaging():
                return self._request_with(self._paging, self._paging.first)
            case OffsetPaging():
                return self._request_with(self._paging, 0)
            case _:
                return PageRequest(url=self._url)

    def _continuation(self, answer: Answer, total: int | None) -> PageRequest | None:
        match self._paging:
            case LinkPaging():
                targets = list(next_links(answer.headers.get("link", ())))
                # The same link twice is harmless. With two targets, one could skip records.
                if len(set(targets)) > 1:
                    raise PagingError("the response has several next links")
                return self._request_to(targets[0]) if targets else None
            case NextLinkPaging(field=field):
                link = self._continuation_text(answer, field)
                return self._request_to(link) if link else None
            case TokenPaging(field=field):
                token = self._continuation_text(answer, field)
                return self._request_with(self._paging, token) if token else None
            case ReferencePaging(field=field):
                reference = answer.count(field)
                return self._request_with(self._paging, reference) if reference else None
            case PagePaging():
                return self._after_page(self._paging, answer, total)
            case OffsetPaging():
                return self._after_offset(self._paging, answer, total)
            case None:
                return None

    def _continuation_text(self, answer: Answer, field: str) -> str:
        """A continuation, or empty if there is none."""
        value = answer.around.get(field)
        if value is None:
            return ""
        # False or a list could mean "no more pages" or a changed API: neither is a last page.
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise PagingError(f"the continuation is not a text (at {field})")
        text = str(value)
        check_text(text, field)
        return text

    def _after_page(
        self, paging: PagePaging, answer: Answer, total: int | None
    ) -> PageRequest | None:
        number = paging.first + self._pages - 1
        self._check_echo(paging.field, answer, number)
        signs = self._signs_of_more(paging.more, answer, total)
        if paging.pages:
            pages = self._count(paging.pages, answer)
            if answer.items and pages < self._pages:
                raise PagingError(f"page {self._pages} of {pages} has records (at {paging.pages})")
            signs.append(self._pages < pages)
        return self._request_with(paging, number + 1) if self._has_next(signs, answer) else None

    def _after_offset(
        self, paging: OffsetPaging, answer: Answer, total: int | None
    ) -> PageRequest | None:
        self._check_echo(paging.field, answer, self.record_count - len(answer.items))
        signs = self._signs_of_more(paging.more, answer, total)
        offset = self.record_count
        return self._request_with(paging, offset) if self._has_next(signs, answer) else None

    def _count(self, place: str, answer: Answer) -> int:
        """A number that must be equal on all pages."""
        count = answer.count(place)
        # If records were added or removed between two pages, a record may have moved across the
        # page boundary and not have been read.
        if self._counts.setdefault(place, count) != count:
            raise PagingError(f"{count}, where an earlier page had another number (at {place})")
        return count

    def _check_echo(self, field: str, answer: Answer, number: int) -> None:
        """Check that the answer is the requested page, if it repeats the number of the request."""
        if field and answer.count(field) != number:
            raise PagingError(f"{number} was requested, but another page was returned (at {field})")

    def _signs_of_more(self, more: str, answer: Answer, total: int | None) -> list[bool]:
        """Whether another page follows, by each declared field of the answer."""
        signs = [] if total is None else [self.record_count < total]
        if more:
            flag = answer.around.get(more)
            if not isinstance(flag, bool):
                raise PagingError(f"neither true nor false (at {more})")
            signs.append(flag)
        return signs

    def _has_next(self, signs: list[bool], answer: Answer) -> bool:
        if not signs:
            return bool(answer.items)
        if len(set(signs)) > 1:
            raise PagingError(f"page {self._pages} contradicts itself on whether another follows")
        # Continuing would skip the records that the page should contain.
        if signs[0] and not answer.items:
            raise PagingError(f"page {self._pages} is empty, but indicates another page")
        return signs[0]

    def _request_with(self, paging: SendingPaging, value: _Scalar) -> PageRequest:
        """The first request with a continuation added to its body or query."""
        fields = {paging.send_as: value}
        _check_length(str(value))
        if paging.send_in == "body":
            return PageRequest(url=self._url, fields=fields)
        self._refuse_identifier(str(value))
        separator = "&" if "?" in self._url else "?"
        return PageRequest(url=f"{self._url}{separator}{urlencode(fields)}")

    def _request_to(self, target: str) -> PageRequest:
        """A request to a next link on the same server, at the same path or below it."""
        _check_length(target)
        self._refuse_identifier(target)
        try:
            url = urlsplit(urljoin(self._request.url, target))
            is_same_server = _origin(url.geturl()) == _origin(self._url) and url.username is None
        except ValueError:
            raise PagingError("the next link is not a URL") from None
        # The request carries the access token and the person's identifier.
        if not is_same_server:
            raise PagingError("the next link leads to another server")
        area_path = urlsplit(self._url).path.rstrip("/")
        if not (
            url.path.startswith(area_path)
            and _PATH_BELOW.fullmatch(url.path.removeprefix(area_path))
        ):
            raise PagingError("the next link leaves the area's path")
        if _BLANK_OR_CONTROL.search(url.geturl()):
            raise PagingError("the next link is not a URL")
        return PageRequest(url=urlunsplit(url._replace(fragment="")))

    def _refuse_identifier(self, text: str) -> None:
        # Proxies log URLs. Only this person's identifier is refused: one in thirty cursors of
        # eleven digits looks like an identifier by chance.
        if self._off_id in _NON_DIGIT.sub("", unquote(text)):
            raise PagingError("the continuation contains the person's identifier")


def check_area_size(*, records: int, received_bytes: int) -> None:
    """Check the size of one person's area, all pages together.

    Raises:
        PagingError: there are more than ``RECORDS_MAX`` records or ``RECEIVED_BYTES_MAX`` bytes.
    """
    if records > RECORDS_MAX:
        raise PagingError(f"more than {RECORDS_MAX} records of one person")
    if received_bytes > RECEIVED_BYTES_MAX:
        raise PagingError(f"responses of more than {RECEIVED_BYTES_MAX} bytes about one person")


def _check_length(continuation: str) -> None:
    if len(continuation) > CONTINUATION_MAX:
        raise PagingError(f"a continuation of more than {CONTINUATION_MAX} characters")


def next_links(values: Iterable[str]) -> Iterator[str]:
    """The targets of all links with the relation ``next`` (RFC 8288 §3), in linear time.

    Raises:
        PagingError: a header mentions a next link, but is malformed.
    """
    for value in values:
        end = 0
        while (link := _LINK.match(value, end)) is not None:
            if "next" in _relations(link[2]):
                yield link[1]
            elif "next" in link[2].lower():
                # Such as `title="next"`. Ignoring it could make this the last page by mistake.
                raise PagingError('a Link header mentions "next", but not in a rel parameter')
            end = link.end()
        if "next" in value[end:].lower():
            raise PagingError('a malformed Link header mentions "next"')


def _relations(parameters: str) -> list[str]:
    """The relations of a link. Only the first ``rel`` counts (RFC 8288 §3.3)."""
    for parameter in _PARAMETER.finditer(parameters):
        if parameter[1].lower() == "rel":
            return str(parameter[2] or parameter[3] or "").lower().split()
    return []


def _origin(url: str) -> tuple[Any, ...]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
