"""Reads one page of records from an HTTP response, or raises the reason why that is impossible.

It is tolerant where PTS documents nothing (unknown fields, letter case, wrapped arrays), and strict
where a mistake would lose a restriction: a response that is not recognisably a list of this
person's restrictions is an error, never an empty list.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from worker.core import exact_json
from worker.core.area import NotFoundMeans, ResourceArea
from worker.core.budgets import check_content, check_records, check_values
from worker.core.fields import FieldPath, find, parse_path, safe_name, spelling
from worker.core.model import Drift, Person
from worker.core.page_signs import flag, plain
from worker.core.privacy import Cleaner
from worker.core.record import Page, RecordReader, reader_of
from worker.core.retry import StatusClass, classify
from worker.errors import ContractError, DeniedError, RejectedError, TransientError

_ENVELOPES: Final = frozenset(
    {
        "items", "value", "values", "result", "results", "data", "entries", "entry",
        "records", "content", "restrictions", "accessrestrictions",
    }
)  # fmt: skip
"""Common names of the list in an object, in lower case."""

_ERROR_FIELDS: Final = frozenset(
    {
        "error", "errors", "errorcode", "errormessage", "errordescription", "errorcategory",
        "odataerror", "partialerrors", "exception", "exceptionmessage", "fault", "faultcode",
        "faultstring", "haserrors", "stacktrace", "validationerrors", "problem", "warning",
        "warnings", "failed", "failures", "requestfailed", "timedout", "unavailable", "degraded",
        "stale", "feil", "feilmelding", "feilkode",
    }
)  # fmt: skip
"""Names, as ``plain`` has them, that say with any value but a negative one that it failed."""
_STATUS_FIELDS: Final = frozenset(
    {
        "status", "code", "statuscode", "httpstatus", "httpstatuscode", "result", "resultcode",
        "outcome", "severity",
    }
)  # fmt: skip
_LINKS: Final = frozenset({"link", "links"})
_SUCCESS_FIELDS: Final = frozenset(
    {"success", "succeeded", "issuccess", "ok", "complete", "completed", "iscomplete"}
)
_MESSAGE_FIELDS: Final = frozenset({"message", "messages", "detail", "details", "title", "info"})
_ABOUT: Final = frozenset({"meta", "metadata", "status", "result", "response", "shards"})
"""Objects that say how the request went."""
_FAILURE_STATUSES: Final = frozenset(
    {"error", "failed", "failure", "fail", "fatal", "partial", "incomplete", "truncated", "timeout",
     "unavailable", "degraded", "stale", "pending", "aborted"}
)  # fmt: skip
_FAILURE_WORDS: Final = re.compile(
    r"error|fail|unavailable|not available|incomplete|partial|time(?:d )?.?out|again|feil|"
    r"utilgjengelig|ufullstendig|prøv igjen"
)
_ERROR_STATUS: Final = 400
_MESSAGE_MAX: Final = 1_000

_BOM: Final = b"\xef\xbb\xbf"
_NOTHING: Final = b"[]"
"""The most common response."""


class _Wrapped(NamedTuple):
    """The list in a response, its path, its envelope, and drift in the envelope."""

    items: list[Any]
    where: str
    envelope: Mapping[str, Any]
    drift: frozenset[Drift] = frozenset()


def read_page(
    status: int,
    headers: Mapping[str, tuple[str, ...]],
    body: bytes | bytearray,
    *,
    area: ResourceArea,
    person: Person,
    key_path: str | None = None,
    cleaner: Cleaner | None = None,
) -> Page:
    """Read a page from a response.

    Args:
        headers: the headers by lower-case name.
        key_path: the record key path that the area has used before, if any.
        cleaner: removes what must not be stored; None keeps everything.

    Raises:
        DeniedError: 401 or 403.
        RejectedError: another 4xx; also 404, unless it means an empty area.
        TransientError: a transient status.
        ContractError: the response is not recognisably a list of this person's restrictions, or
            exceeds the limits of ``budgets``.
    """
    if classify(status) is not StatusClass.OK:
        _check_status(status, headers, area)
        return Page(records=(), item_count=0, key_path=key_path or "")
    _check_content_type(headers)
    document = parse(body)
    reader = reader_of(area)
    if isinstance(document, list):
        page_list = _Wrapped(document, "", {})
    elif isinstance(document, dict):
        reader.check_person(document, person.off_id.reveal(), "$")
        page_list = _unwrap(document, area, reader)
    else:
        raise ContractError("neither a list nor an object", field="$")
    check_records(page_list.items, len(body))
    page = reader.read(
        page_list.items, person=person, key_path=key_path, cleaner=cleaner, where=page_list.where
    )
    return msgspec.structs.replace(
        page, envelope=page_list.envelope, headers=headers, drift=page.drift | page_list.drift
    )


def parse(body: bytes | bytearray) -> Any:
    """Parse JSON.

    Raises:
        ContractError: it is not JSON (RFC 8259) in UTF-8, holds a number beyond the range of a
            double, an object holds a field twice (parsers would silently drop one), or it exceeds
            the limits of ``budgets``.
    """
    if body == _NOTHING:
        return []
    text = body.removeprefix(_BOM) if body.startswith(_BOM) else body  # else a copy of it
    if not text or text.isspace():
        raise ContractError("an empty body", field="$")
    check_values(text)
    try:
        document = exact_json.loads(text)
        compact = exact_json.dumps(document)
    except json.JSONDecodeError as error:
        # The error holds the body, so it must not be chained.
        raise ContractError(f"not JSON: {error.msg} (byte {error.pos})", field="$") from None
    except (orjson.JSONEncodeError, RecursionError):
        raise ContractError("nested too deeply", field="$") from None
    check_content(compact)
    # A dropped duplicate field also drops its colon. Colons can be escaped, so a difference only
    # requires the slower check.
    escaped = text.lower().count(b"\\u003a") if b"\\" in text else 0
    if text.count(b":") + escaped != compact.count(b":"):
        json.loads(text, object_pairs_hook=_refuse_twice)
    return document


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ContractError("a duplicate field in one object", field="$")


def _check_status(status: int, headers: Mapping[str, tuple[str, ...]], area: ResourceArea) -> None:
    """Return if the status means an empty area, otherwise raise its error."""
    kind = classify(status)
    if kind is StatusClass.TRANSIENT:
        raise TransientError(f"status {status}", status=status)
    if kind is StatusClass.DENIED:
        raise DeniedError(f"status {status}: this client may not read", status=status)
    if kind is StatusClass.NOT_FOUND:
        if area.not_found_means is NotFoundMeans.EMPTY and "html" not in _content_type(
            headers.get("content-type", ())
        ):
            return
        hint = "check the area's path; if 404 means no restrictions, set not_found_means = empty"
        raise RejectedError(f"status {status}", status=status, hint=hint)
    if kind is StatusClass.REJECTED:
        raise RejectedError(f"status {status}", status=status)
    what = "a redirect" if kind is StatusClass.REDIRECT else "not a complete response"
    raise ContractError(f"status {status}: {what}", status=status)


def _check_content_type(headers: Mapping[str, tuple[str, ...]]) -> None:
    content_type = _content_type(headers.get("content-type", ()))
    if "html" in content_type:
        raise ContractError("an HTML page", field="content-type")
    if "problem+json" in content_type:
        raise ContractError("a problem report", field="content-type")


@lru_cache(maxsize=64)
def _content_type(values: tuple[str, ...]) -> str:
    return "".join(values).lower()


def _unwrap(document: dict[str, Any], area: ResourceArea, reader: RecordReader) -> _Wrapped:
    """The list inside an object."""
    _refuse_error(document, area)
    if area.envelope:
        return _declared_envelope(document, area.envelope)
    if reader.recognises(document):
        raise ContractError("a single record, not a list of them", field="$")
    lists = {name: value for name, value in document.items() if isinstance(value, list)}
    known = [name for name in lists if name.lower() in _ENVELOPES]
    if not known:
        return _unknown_envelope(document, lists, reader)
    name = known[0]
    if len(known) > 1 or any(
        _could_hold_records(document, n, reader) for n in document.keys() - {name}
    ):
        raise ContractError("several fields could be the list", field="$")
    return _Wrapped(lists[name], safe_name(name), _rest(document, name))


def _declared_envelope(document: dict[str, Any], path: str) -> _Wrapped:
    steps = parse_path(path)
    items = find(document, steps)
    if not isinstance(items, list):
        raise ContractError("no list", field=path)
    parent = find(document, steps[:-1])
    around = _without(document, steps)
    if isinstance(parent, dict):
        around |= _without(parent, steps[-1:])
    return _Wrapped(items, path, around)


def _without(document: dict[str, Any], steps: FieldPath) -> dict[str, Any]:
    """A copy of an object without the list at a path: no field of a record is about paging."""
    name = spelling(tuple(document)).get(str(steps[0]))
    if name is None:
        return dict(document)
    inner = document[name]
    is_parent = isinstance(inner, dict) and len(steps) > 1
    return {**document, name: _without(inner, steps[1:]) if is_parent else None}


def _could_hold_records(document: Mapping[str, Any], name: str, reader: RecordReader) -> bool:
    """Whether another field might also be, or hold, a list of records."""
    value = document[name]
    if isinstance(value, list):
        return any(reader.recognises(item) for item in value)
    return isinstance(value, dict) and bool(value) and name.lower() in _ENVELOPES


def _unknown_envelope(
    document: dict[str, Any], lists: Mapping[str, list[Any]], reader: RecordReader
) -> _Wrapped:
    """Accept a list under an unknown name if it is the only candidate."""
    filled = [name for name, items in lists.items() if items and name.lower() not in _LINKS]
    if len(filled) != 1 or not all(reader.recognises(item) for item in lists[filled[0]]):
        raise ContractError("an object without a recognisable list of records", field="$")
    name = filled[0]
    drift = Drift(field=safe_name(name), kind="unknown_envelope")
    return _Wrapped(lists[name], safe_name(name), _rest(document, name), frozenset({drift}))


def _rest(document: dict[str, Any], name: str) -> Mapping[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def _refuse_error(document: Mapping[str, Any], area: ResourceArea, within: str = "") -> None:
    """Refuse an object that reports an error or an incomplete result."""
    ignored = {plain(name) for name in area.paging.ignore}
    for name, value in document.items():
        key = plain(name)
        if key in ignored:
            continue
        is_error = key in _ERROR_FIELDS and value and flag(value) is not False
        is_failure = key in _SUCCESS_FIELDS and flag(value) is False
        is_status = key in _STATUS_FIELDS and _is_error_status(value)
        is_message = key in _MESSAGE_FIELDS and _FAILURE_WORDS.search(
            str(value)[:_MESSAGE_MAX].lower()
        )
        is_outcome = key == "resourcetype" and value == "OperationOutcome"
        if is_error or is_failure or is_status or is_message or is_outcome:
            raise ContractError(
                "an error reported with status 200; if it is none, add it to "
                f"areas.{area.name}.paging.ignore",
                field=within + key,
            )
        if key in _ABOUT and isinstance(value, dict) and not within:
            _refuse_error(value, area, f"{key}.")


def _is_error_status(value: Any) -> bool:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:4])
    if isinstance(value, str):
        return value.lower() in _FAILURE_STATUSES
    return isinstance(value, int) and value >= _ERROR_STATUS
