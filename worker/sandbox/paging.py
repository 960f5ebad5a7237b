"""Paging styles. PTS documents none, so the worker must detect all of them."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from worker.sandbox.faults import Action
from worker.sandbox.jose import decode_segment, encode_segment
from worker.sandbox.search import SearchError
from worker.sandbox.web import Headers, Response, json_response

_ENDLESS: Final = 1_000_000
_KEY: Final = secrets.token_bytes(16)


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a page."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Pager:
    """One style of paging, for one response.

    Attributes:
        style: one of ``styles.PAGING_STYLES``.
        bound_to: area and person for which a cursor is valid.
    """

    style: str
    size: int
    bound_to: str
    url: str
    fault: Action | None = None

    def position(self, fields: Mapping[str, Any]) -> Position:
        """The requested position, from the fields by lower-case name.

        Raises:
            SearchError: this server did not issue it, or issued it for another person.
        """
        match self.style:
            case "link" | "next_link":
                return Position(self._open(fields, "cursor"), self.size)
            case "token":
                return Position(self._open(fields, "continuationToken"), self.size)
            case "page":
                size = _positive(fields, "pageSize", self.size)
                return Position((_positive(fields, "page", 1) - 1) * size, size)
            case "paging_reference":
                return Position(_natural(fields, "pagingReference"), self.size)
            case _:
                return Position(0, 1 << 30)

    def response(self, documents: Sequence[object], position: Position) -> Response:
        """The page at this position."""
        if self.fault is Action.LOOP_PAGING and self.style == "page":
            position = Position(0, position.size)
        page = list(documents[position.start : position.start + position.size])
        end = position.start + position.size
        following: int | None = end if end < len(documents) else None
        if self.fault is Action.LOOP_PAGING:
            following = position.start
        return self._render(page, following, len(documents), position)

    def _render(
        self, page: list[object], following: int | None, count: int, position: Position
    ) -> Response:
        total = count + 1 if self.fault is Action.WRONG_TOTAL else count
        headers: Headers = ()
        body: dict[str, Any] = {"items": page}
        cursor = None if following is None else self._seal(following)
        address = None if cursor is None else f"{self.url}?cursor={quote(cursor)}"
        match self.style:
            case "next_link":
                body["nextLink"] = address
            case "token":
                body["continuationToken"] = cursor
            case "page":
                number = position.start // position.size + 1
                if self.fault is Action.LOOP_PAGING:
                    total, number = _ENDLESS, 1
                body |= {"page": number, "pageSize": position.size, "total": total}
            case "paging_reference":
                body["pagingReference"] = self._reference(following)
            case _:
                return self._bare(page, address, total, count)
        if self.fault is Action.WRONG_TOTAL:
            body["total"] = total
        if self.fault is Action.UNKNOWN_CONTINUATION:
            body |= {"hasMore": True, "scrollId": "c2FuZGJveA"}
        return json_response(body, headers=headers)

    def _bare(self, page: list[object], address: str | None, total: int, count: int) -> Response:
        headers: Headers = ()
        if address is not None:
            headers = ((b"link", f'<{address}>; rel="next"'.encode("ascii")),)
        if self.fault is Action.UNKNOWN_CONTINUATION:
            return json_response({"items": page, "hasMore": True, "scrollId": "c2FuZGJveA"})
        if total != count:
            return json_response({"items": page, "total": total}, headers=headers)
        return json_response(page, headers=headers)

    def _reference(self, following: int | None) -> int:
        if following == 0 and self.fault is Action.LOOP_PAGING:
            return self.size
        return following or 0

    def _seal(self, start: int) -> str:
        return encode_segment(b"%d." % start + self._mac(start))

    def _mac(self, start: int) -> bytes:
        return hmac.digest(_KEY, f"{self.bound_to} {start}".encode(), hashlib.sha256)[:12]

    def _open(self, fields: Mapping[str, Any], name: str) -> int:
        cursor = fields.get(name.lower())
        if cursor is None:
            return 0
        try:
            digits, _, mac = decode_segment(cursor).partition(b".")
            start = int(digits)
        except (ValueError, TypeError) as error:
            raise _not_issued(name) from error
        if not hmac.compare_digest(mac, self._mac(start)):
            raise _not_issued(name)
        return start


def _not_issued(name: str) -> SearchError:
    return SearchError(name, f"The value of {name} is not valid.")


def _natural(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name.lower(), 0)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _not_issued(name)
    return value


def _positive(fields: Mapping[str, Any], name: str, default: int) -> int:
    if name.lower() not in fields:
        return default
    value = _natural(fields, name)
    if value == 0:
        raise _not_issued(name)
    return value
