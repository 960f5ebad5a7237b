"""The pages of a person's records, in each style that a contract can declare."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from worker.sandbox.contract import HEADER, AreaContract, Paging
from worker.sandbox.faults import Action
from worker.sandbox.jose import decode_segment, encode_segment
from worker.sandbox.web import SearchError

_ENDLESS: Final = 1_000_000
_CURSOR: Final = "cursor"
_KEY: Final = secrets.token_bytes(16)
_MAC_BITS: Final = 20
"""Of a reference, which must stay a number that any JSON reader takes exactly."""


def continuation_of(paging: Paging) -> tuple[str, str]:
    """The name under which a continuation is sent back, and whether in ``body`` or ``query``."""
    if paging.style in {"link", "next_link"}:
        return _CURSOR, "query"
    return paging.send_as or paging.field.rpartition(".")[2], paging.send_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """Pages of one person's records in one area.

    Attributes:
        size: records of a page.
        count: records of all pages.
        bound_to: the area and person for whom a continuation is valid.
        url: the area's address, without its query.
    """

    contract: AreaContract
    size: int
    count: int
    bound_to: str
    url: str
    fault: Action | None

    def start(self, continuation: Any) -> int:
        """The number of records before the page that was asked for.

        Raises:
            SearchError: the continuation was not issued for this person and area.
        """
        paging = self.contract.pages
        try:
            start = 0 if continuation is None else self._start(paging, continuation)
        except (ValueError, TypeError):
            start = -1
        # Where nothing tells of the end, a client finds it by an empty page.
        end = self.count if paging.style == "offset" else self.count + self.size - 1
        if not 0 <= start <= end:
            name, _ = continuation_of(paging)
            raise SearchError({name: [f"The value of {name} is not valid."]})
        return 0 if self._is_loop and paging.style in {"page", "offset"} else start

    def _start(self, paging: Paging, continuation: Any) -> int:
        if paging.style in {"link", "next_link", "token"}:
            start = int(decode_segment(str(continuation)).partition(b".")[0])
            return start if continuation == self._token(start) else -1
        number = int(continuation) if paging.send_in == "query" else continuation
        if type(number) is not int or str(number) != str(continuation):
            return -1
        if paging.style == "page":
            return (number - paging.first) * self.size
        if paging.style == "offset" or not number:
            return number
        start = (number >> _MAC_BITS) - 1
        return start if number == self._reference(start) else -1

    @property
    def _is_loop(self) -> bool:
        return self.fault is Action.LOOP_PAGING and self.contract.pages.style != "none"

    def page(self, records: list[Any], start: int) -> list[Any]:
        """The records of a page."""
        is_whole = self.contract.pages.style == "none"
        return records if is_whole else records[start : start + self.size]

    def around(self, start: int) -> dict[str, Any]:
        """What is said about the pages, by path or header."""
        paging = self.contract.pages
        following = start if self._is_loop else start + self.size
        is_more = self._is_loop or following < self.count
        told: dict[str, Any] = {}
        match paging.style:
            case "link" if is_more:
                told[f"{HEADER}Link"] = f'<{self._address(following)}>; rel="next"'
            case "next_link":
                told[paging.field] = self._address(following) if is_more else None
            case "token":
                told[paging.field] = self._token(following) if is_more else None
            case "reference":
                told[paging.field] = self._reference(following) if is_more else 0
            case "page":
                told[paging.field] = paging.first + start // self.size
                told[paging.pages] = _ENDLESS if self._is_loop else -(-self.count // self.size)
                told[paging.more] = is_more
            case "offset":
                told |= {paging.field: start, paging.more: is_more}
            case _:
                pass
        is_wrong = self.fault is Action.WRONG_TOTAL
        total = self.contract.total or (f"{HEADER}X-Total-Count" if is_wrong else "")
        told[total] = _ENDLESS if self._is_loop else self.count + is_wrong
        return {place: value for place, value in told.items() if place}

    def _address(self, start: int) -> str:
        return f"{self.url}?{urlencode({**self.contract.query, _CURSOR: self._token(start)})}"

    def _reference(self, start: int) -> int:
        return start + 1 << _MAC_BITS | int.from_bytes(self._mac(start)) >> 96 - _MAC_BITS

    def _token(self, start: int) -> str:
        return encode_segment(b"%d." % start + self._mac(start))

    def _mac(self, start: int) -> bytes:
        return hmac.digest(_KEY, f"{self.bound_to} {start}".encode(), hashlib.sha256)[:12]
