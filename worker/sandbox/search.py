"""Checks that a search is asked as the contract says. What it holds is never echoed."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from worker.sandbox.contract import OFF_ID, AreaContract
from worker.sandbox.paging import continuation_of
from worker.sandbox.people import is_synthetic
from worker.sandbox.web import Request, SearchError
from worker.sandbox.windows import ReplayWindow

_UUID: Final = "{uuid}"
_UUID_PATTERN: Final = "([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_UUID_WINDOW_S: Final = 3600.0
_Errors = dict[str, list[str]]


def peek_off_id(body: bytes, contract: AreaContract) -> str | None:
    """The identifier in an unchecked body, for faults that affect a person; None if missing."""
    return next(iter(_compare(contract.body, _fields(body), "$", {})), None)


class SearchReader:
    """Reads searches. An id that the contract wants to be new in a header is accepted once."""

    def __init__(self) -> None:
        self._seen = ReplayWindow(_UUID_WINDOW_S)

    def read(self, request: Request, contract: AreaContract) -> tuple[str, Any]:
        """The person asked for, and the continuation that was sent along; None if none was.

        Raises:
            SearchError: something is missing, undeclared or another; or the person may be real.
        """
        errors: _Errors = {}
        headers = {n: ", ".join(request.all(n.lower().encode())) for n in contract.headers}
        query = dict(parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True))
        body, template = _fields(request.body), dict(contract.body)
        name, place = continuation_of(contract.pages)
        sent = (query if place == "query" else body).pop(name, None)
        # A template may begin with the number of the first page.
        if place == "body" and template.pop(name, None) == sent:
            sent = None
        for used in set(_compare(contract.headers, headers, "headers", errors)):
            if self._seen.seen(used):
                errors["headers"] = ["An id must be new for each request."]
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
        form = _pattern(_canonical(value)).fullmatch(_canonical(sent.get(name)))
        if form is None:
            errors[f"{place}.{name}"] = ["The value is missing, or not as the contract has it."]
        else:
            found += form.groups()
    if sent.keys() - declared.keys():
        errors[place] = ["There is a name here that the contract does not have."]
    return found


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@lru_cache(maxsize=256)
def _pattern(declared: str) -> re.Pattern[str]:
    pattern = re.escape(declared).replace(re.escape(OFF_ID), "([0-9]{11})")
    return re.compile(pattern.replace(re.escape(_UUID), _UUID_PATTERN))
