"""The stand-in for PTS: the two searches that the worker uses, in the shape of the contract.

``worker/areas/pts.toml`` marks the inferred parts. Values of a request are never echoed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode
from zlib import crc32

import msgspec

from worker.sandbox.access import AccessChecker, Tokens
from worker.sandbox.contract import HEADER, OFF_ID, AreaContract, Paging, put
from worker.sandbox.people import (
    Document,
    Restriction,
    is_synthetic,
    population,
    restrictions,
    sample,
)
from worker.sandbox.web import Headers, RefusedError, Request, Response, json_response, problem
from worker.sandbox.world import Action, Fault, World, pick

_UUID: Final = "{uuid}"
_UUID_PATTERN: Final = "([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_CURSOR: Final = "cursor"
_CHECK_BITS: Final = 32
_UNLIMITED: Final = 1_000_000
_Errors: TypeAlias = dict[str, list[str]]


class SearchError(Exception):
    """A search is refused with 400. Its argument: messages by place, without values."""


# The request.


def peek_off_id(body: bytes, contract: AreaContract) -> str | None:
    """The identifier in an unchecked body, for faults that affect a person. None if missing."""
    return next(iter(_compare(contract.body, _fields(body), "$", {})), None)


def read_search(request: Request, contract: AreaContract) -> tuple[str, Any]:
    """The person of the search, and its continuation or None.

    Raises:
        SearchError: a value is missing, undeclared or wrong, or the person may be real.
    """
    errors: _Errors = {}
    headers = {n: ", ".join(request.all(n.lower())) for n in contract.headers}
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    # The continuation is removed first, because the contract does not declare its value.
    body, template = _fields(request.body), dict(contract.body)
    name, place = continuation_of(contract.pages)
    sent = (query if place == "query" else body).pop(name, None)
    # The declared body may contain the continuation of the first page, such as page number 1.
    first = template.pop(name, None) if place == "body" else None
    if sent == first:
        sent = None
    _compare(contract.headers, headers, "headers", errors)
    _compare(contract.query, query, "query", errors)
    persons = {*_compare(template, body, "$", errors)}
    if not all(map(is_synthetic, persons)):
        errors["$"] = ["This sandbox takes synthetic persons only (month +80, +65)."]
    # Two different identifiers in one request are a bug of the client, even if both are valid.
    if errors or len(persons) != 1:
        raise SearchError(errors or {"$": ["The request names more than one person."]})
    return persons.pop(), sent


def _fields(body: bytes) -> dict[str, Any]:
    """The fields of a body. Empty if it is not a JSON object."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _compare(
    declared: Mapping[str, Any], sent: Mapping[str, Any], place: str, errors: _Errors
) -> list[str]:
    """Compare the sent values with the contract. Return the values of its placeholders."""
    placeholders: list[str] = []
    for name, value in declared.items():
        # As JSON text, so that a placeholder can be anywhere in a nested value.
        declared_as, sent_as = (json.dumps(v, sort_keys=True) for v in (value, sent.get(name)))
        form = _pattern(declared_as).fullmatch(sent_as)
        if form is None:
            errors[f"{place}.{name}"] = ["The value is missing, or differs from the contract."]
        else:
            placeholders += form.groups()
    if sent.keys() - declared.keys():
        errors[place] = ["The contract does not declare one of these names."]
    return placeholders


@lru_cache(maxsize=256)
def _pattern(declared: str) -> re.Pattern[str]:
    pattern = re.escape(declared).replace(re.escape(OFF_ID), "([0-9]{11})")
    return re.compile(pattern.replace(re.escape(_UUID), _UUID_PATTERN))


# The pages.


def continuation_of(paging: Paging) -> tuple[str, str]:
    """The name of the continuation in a request, and ``body`` or ``query``."""
    if paging.style in {"link", "next_link"}:
        return _CURSOR, "query"
    return paging.send_as or paging.field.rpartition(".")[2], paging.send_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """Pages of the records of one person and area. Continuations are bound to both."""

    contract: AreaContract
    size: int
    count: int
    bound_to: str
    url: str

    def start(self, continuation: Any) -> int:
        """The number of records before the requested page.

        Raises:
            SearchError: the continuation was not issued for this person and area.
        """
        paging = self.contract.pages
        try:
            start = 0 if continuation is None else self._start(paging, continuation)
        except (ValueError, TypeError):
            start = -1
        # If no field marks the last page, the client requests one more, which is empty.
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
        # " 2" and "02" are also integers for int(), but not the value that was sent.
        if type(number) is not int or str(number) != str(continuation):
            return -1
        if paging.style == "page":
            return (number - paging.first) * self.size
        if paging.style == "offset":
            return number
        if number == 0:  # the reference of the first page
            return 0
        start = number >> _CHECK_BITS
        return start if number == self._reference(start) else -1

    def around(self, start: int) -> dict[str, Any]:
        """The fields about pages, by path or header."""
        paging = self.contract.pages
        following = start + self.size
        is_more = following < self.count
        fields: dict[str, Any] = {self.contract.total: self.count}
        match paging.style:
            case "link" if is_more:
                fields[f"{HEADER}Link"] = f'<{self._address(following)}>; rel="next"'
            case "next_link":
                fields[paging.field] = self._address(following) if is_more else None
            case "token":
                fields[paging.field] = self._token(following) if is_more else None
            case "reference":
                fields[paging.field] = self._reference(following) if is_more else 0
            case "page":
                fields[paging.field] = paging.first + start // self.size
                fields[paging.pages] = -(-self.count // self.size)
                fields[paging.more] = is_more
            case "offset":
                fields |= {paging.field: start, paging.more: is_more}
            case _:
                pass
        return {place: value for place, value in fields.items() if place}

    def _address(self, start: int) -> str:
        return f"{self.url}?{urlencode({**self.contract.query, _CURSOR: self._token(start)})}"

    def _token(self, start: int) -> str:
        return f"{self._reference(start):x}"

    def _reference(self, start: int) -> int:
        """A continuation as a number that every JSON reader keeps exactly (below 2**53)."""
        return start << _CHECK_BITS | crc32(f"{self.bound_to} {start}".encode())


class Pts:
    """PTS for one world."""

    def __init__(self, world: World, tokens: Tokens) -> None:
        self._world = world
        self._access = AccessChecker(world, tokens)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """Handle a request. Return area, response and the action of an applied fault."""
        # Compared decoded, because the contract may escape characters of the path.
        paths = {unquote(c.path): area for area, c in self._world.contract.items()}
        area = paths.get(request.path)
        if area is None:
            return "elsewhere", problem(404), ""
        if request.method != "POST":
            return area, problem(405, {"allow": "POST"}), ""
        off_id = peek_off_id(request.body, self._world.contract[area])
        person = (off_id, self._world.people.get(off_id or ""))
        fault = pick(self._world.faults, area, *person)
        # A gateway's answer comes before any check of the request.
        response = None if fault is None else fault.instead()
        if response is None:
            response, fault = self._search(request, area, person, fault)
        return area, response, fault.action if fault else ""

    def _search(
        self, request: Request, area: str, person: tuple[Any, Any], fault: Fault | None
    ) -> tuple[Response, Fault | None]:
        try:
            self._access.check(request, fault)
            if request.media_type != "application/json":
                return problem(415), fault
            search = read_search(request, self._world.contract[area])
            self._world.counts["searches"] += 1
            fault = fault or pick(self._world.faults, area, *person, in_records=True)
            response = self._answer(request, area, search, fault)
        except RefusedError as refused:
            self._world.counts[f"refused {area}: {refused.reason}"] += 1
            return refused.at_api(self._world.options.challenge_style), fault
        except SearchError as error:
            return problem(400, errors=error.args[0]), fault
        return fault.spoil(response) if fault else response, fault

    def _answer(
        self, request: Request, area: str, search: tuple[str, Any], fault: Fault | None
    ) -> Response:
        contract, (off_id, continuation) = self._world.contract[area], search
        matches = self._find(area, off_id)
        if fault is not None:
            matches = self._spoil(area, off_id, matches, fault.action)
        form = _empty_form(off_id)
        if not matches and contract.empty_status and form == "status":
            return Response(contract.empty_status[0])
        pager = Pager(
            contract=contract,
            size=self._world.options.page_size if contract.pages.style != "none" else _UNLIMITED,
            count=len(matches),
            bound_to=f"{area} {off_id}",
            url=f"{self._world.options.pts_url}{request.path}",
        )
        start = pager.start(continuation)
        render = self._world.renderers[area].record
        records = [render(restriction) for restriction in matches[start : start + pager.size]]
        is_null = not matches and contract.no_records == "empty" and form == "null"
        around = {
            **dict.fromkeys(contract.ignore, "made up"),
            **dict.fromkeys(contract.answer_person, off_id),
            **contract.expect,
            **pager.around(start),
        }
        place = contract.records
        if fault is not None and fault.action is Action.UNKNOWN_CONTINUATION:
            place, around = place or "items", around | {"hasMore": True, "scrollId": "c2FuZGJveA"}
        return _response(place, None if is_null and place else records, around)

    def _find(self, area: str, off_id: str) -> list[Restriction]:
        options = self._world.options
        if off_id not in self._world.people:
            return []
        return [*restrictions(area, options.seed, off_id, options.generation)]

    def _spoil(
        self, area: str, off_id: str, matches: list[Restriction], action: Action
    ) -> list[Restriction]:
        """Corrupt the last restriction, or a made-up one if the person has none."""
        *head, last = matches or [sample(area, off_id)]
        match action:
            case Action.EMPTY_LIST:
                return []
            case Action.OTHER_PERSON:
                # Not from this world's roster, which may have only one person.
                others = population(self._world.options.seed, 2)
                wrong_person = next(person for person in others if person != off_id)
                return [*matches, sample(area, wrong_person)]
            case Action.NO_KEY:
                return [*head, last._replace(id="")]
            case Action.WRONG_TYPE:
                wrong = {"confidentiality_code": 17, "privacy_type": 17, "privacy_level": ["Soft"]}
                return [*head, last._replace(values=last.values | wrong)]
            case _:
                return matches


def _empty_form(off_id: str) -> str:
    """The form of an answer without records, if the contract declares it."""
    # By person, so that a night has all declared forms and each person always the same.
    return ("status", "null", "list")[crc32(off_id.encode()) % 3]


def _response(place: str, records: list[Document] | None, around: Mapping[str, Any]) -> Response:
    """The records at their path, or alone, with the fields around them by path or header."""
    document: Document = {}
    headers: Headers = {}
    if place:
        put(document, place, records)
    for path, value in around.items():
        if path.startswith(HEADER):
            headers[path.removeprefix(HEADER).lower()] = str(value)
        else:
            put(document, path, value)
    return json_response(document if place else records, headers=headers)
