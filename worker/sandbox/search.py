"""Searches: that they are asked as the contract says, and the pages of their answers.

What a request holds is never echoed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode
from zlib import crc32

import orjson

from worker.sandbox.contract import HEADER, OFF_ID, AreaContract, Paging
from worker.sandbox.people import is_synthetic
from worker.sandbox.web import Request

_UUID: Final = "{uuid}"
_UUID_PATTERN: Final = "([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_CURSOR: Final = "cursor"
_CHECK_BITS: Final = 32
_Errors: TypeAlias = dict[str, list[str]]


class SearchError(Exception):
    """A search is refused with 400. Its argument: messages by place, without values."""


# The request.


def peek_off_id(body: bytes, contract: AreaContract) -> str | None:
    """The identifier in an unchecked body, for faults that affect a person; None if missing."""
    return next(iter(_compare(contract.body, _fields(body), "$", {})), None)


def read_search(request: Request, contract: AreaContract) -> tuple[str, Any]:
    """The person asked for, and the continuation that was sent along; None if none was.

    Raises:
        SearchError: something is missing, undeclared or another; or the person may be real.
    """
    errors: _Errors = {}
    headers = {n: ", ".join(request.all(n.lower())) for n in contract.headers}
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    body, template = _fields(request.body), dict(contract.body)
    name, place = continuation_of(contract.pages)
    sent = (query if place == "query" else body).pop(name, None)
    # A template may begin with the number of the first page.
    if place == "body" and template.pop(name, None) == sent:
        sent = None
    _compare(contract.headers, headers, "headers", errors)
    _compare(contract.query, query, "query", errors)
    persons = {*_compare(template, body, "$", errors)}
    if not all(map(is_synthetic, persons)):
        errors["$"] = ["This sandbox takes synthetic persons only (month +80, +65)."]
    if errors or len(persons) != 1:
        raise SearchError(errors or {"$": ["The request names more than one person."]})
    return persons.pop(), sent


def _fields(body: bytes) -> dict[str, Any]:
    """The fields of a body; none if it is no JSON object."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _compare(
    declared: Mapping[str, Any], sent: Mapping[str, Any], place: str, errors: _Errors
) -> list[str]:
    """Compare what was sent with the contract; return what stands for its placeholders."""
    found: list[str] = []
    for name, value in declared.items():
        declared_as, sent_as = (json.dumps(one, sort_keys=True) for one in (value, sent.get(name)))
        form = _pattern(declared_as).fullmatch(sent_as)
        if form is None:
            errors[f"{place}.{name}"] = ["The value is missing, or not as the contract has it."]
        else:
            found += form.groups()
    if sent.keys() - declared.keys():
        errors[place] = ["There is a name here that the contract does not have."]
    return found


@lru_cache(maxsize=256)
def _pattern(declared: str) -> re.Pattern[str]:
    pattern = re.escape(declared).replace(re.escape(OFF_ID), "([0-9]{11})")
    return re.compile(pattern.replace(re.escape(_UUID), _UUID_PATTERN))


# The pages.


def continuation_of(paging: Paging) -> tuple[str, str]:
    """The name under which a continuation is sent back, and whether in ``body`` or ``query``."""
    if paging.style in {"link", "next_link"}:
        return _CURSOR, "query"
    return paging.send_as or paging.field.rpartition(".")[2], paging.send_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """Pages of so many records of one person in one area, to which continuations are bound."""

    contract: AreaContract
    size: int
    count: int
    bound_to: str
    url: str

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
        return start

    def _start(self, paging: Paging, continuation: Any) -> int:
        if paging.style in {"link", "next_link", "token"}:
            start = int(str(continuation), 16) >> _CHECK_BITS
            return start if continuation == self._token(start) else -1
        number = int(continuation) if paging.send_in == "query" else continuation
        if type(number) is not int or str(number) != str(continuation):
            return -1
        if paging.style == "page":
            return (number - paging.first) * self.size
        if paging.style == "offset" or not number:
            return number
        start = number >> _CHECK_BITS
        return start if number == self._reference(start) else -1

    def around(self, start: int) -> dict[str, Any]:
        """What is said about the pages, by path or header."""
        paging = self.contract.pages
        following = start + self.size
        is_more = following < self.count
        told: dict[str, Any] = {self.contract.total: self.count}
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
                told[paging.pages] = -(-self.count // self.size)
                told[paging.more] = is_more
            case "offset":
                told |= {paging.field: start, paging.more: is_more}
            case _:
                pass
        return {place: value for place, value in told.items() if place}

    def _address(self, start: int) -> str:
        return f"{self.url}?{urlencode({**self.contract.query, _CURSOR: self._token(start)})}"

    def _token(self, start: int) -> str:
        return f"{self._reference(start):x}"

    def _reference(self, start: int) -> int:
        """Also in JSON, a number that every reader takes exactly."""
        return start << _CHECK_BITS | crc32(f"{self.bound_to} {start}".encode())
