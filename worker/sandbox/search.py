"""The body of a search, parsed like ASP.NET and never echoed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from worker.sandbox.people import is_off_id, is_synthetic
from worker.sandbox.restrictions import SAFETY, Document, Restriction
from worker.sandbox.web import Request

_OLD_VERSIONS: Final = frozenset({"0.3", "0.4"})


class SearchError(Exception):
    """A body or header is refused with 400.

    Attributes:
        errors: messages by field, without values.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.errors = {name: [problem]}


@dataclass(frozen=True, slots=True)
class Search:
    """A valid search.

    Attributes:
        object_id, parent_id: filters, as (type, value).
        applicable_only: omit restrictions whose delay has passed.
        fields: all fields of body and query, by lower-case name, for paging.
    """

    off_id: str
    object_id: tuple[str, str] | None
    parent_id: tuple[str, str] | None
    applicable_only: bool
    fields: Mapping[str, Any]


def peek_off_id(body: bytes) -> str | None:
    """The identifier in an unchecked body, for faults that affect a person; None if missing."""
    try:
        fields = _fields(body)
    except SearchError:
        return None
    off_id = fields.get("offid")
    return off_id if isinstance(off_id, str) and is_off_id(off_id) else None


def check_version(request: Request) -> None:
    """Require ``api-version`` on the old route; its format is inferred (PTS reference, 1.2).

    Raises:
        SearchError: the header is missing or has an unknown version.
    """
    version = request.header(b"api-version")
    if version is None:
        raise SearchError("api-version", "An API version is required, but was not specified.")
    if version.strip().lower().removeprefix("v") not in _OLD_VERSIONS:
        raise SearchError("api-version", "The API version is not supported.")


def read_search(area: str, request: Request) -> Search:
    """Parse a search. Field names are case-insensitive; unknown fields are ignored.

    Raises:
        SearchError: a field is missing or has the wrong type, or the person may be real.
    """
    fields = _fields(request.body)
    off_id = fields.get("offid")
    if not isinstance(off_id, str):
        raise SearchError("$.offId", "The offId field is required and must be a string.")
    if not is_off_id(off_id):
        raise SearchError("$.offId", "The offId must be eleven digits.")
    if not is_synthetic(off_id):
        raise SearchError("$.offId", "This sandbox takes synthetic persons only (month +80, +65).")
    object_id = parent_id = None
    applicable_only: object = False
    if area == SAFETY:
        object_id = _object_id(fields, "confidentialObjectId")
        parent_id = _object_id(fields, "parentConfidentialObjectId")
        applicable_only = fields.get("applicableonly", False)
        if not isinstance(applicable_only, bool):
            raise SearchError("$.ApplicableOnly", "The value must be true or false.")
    return Search(off_id, object_id, parent_id, bool(applicable_only), fields | request.query())


def matches(search: Search, restriction: Restriction, now_s: float) -> bool:
    """Whether the restriction passes the filters of the search."""
    document = restriction.document
    if search.object_id is not None:
        object_id = document["patientSafetyObject"]["confidentialObjectId"]
        if (object_id["type"], object_id["value"]) != search.object_id:
            return False
    if search.parent_id is not None:
        parent: Document = document["parentConfidentialObjectId"] or {}
        if (parent.get("type"), parent.get("value")) != search.parent_id:
            return False
    passed = restriction.until_s is not None and restriction.until_s <= now_s
    return not (search.applicable_only and passed)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SearchError("$", "The body is not JSON.") from error
    if not isinstance(value, dict):
        raise SearchError("$", "The body must be a JSON object.")
    return {name.lower(): field for name, field in value.items()}


def _object_id(fields: Mapping[str, Any], name: str) -> tuple[str, str] | None:
    if name.lower() not in fields:
        return None
    value = fields[name.lower()]
    parts = {k.lower(): part for k, part in value.items()} if isinstance(value, dict) else {}
    kind, text = parts.get("type"), parts.get("value")
    if not isinstance(kind, str) or not isinstance(text, str):
        raise SearchError(f"$.{name}", "The value must be an object with type and value.")
    return kind, text
