"""Reads one answer by the contract of its area, or raises an error with the reason.

If a field around the records is not declared, the answer is not a complete read (promise 1): the
field may mean that records are missing.
"""

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec

from worker.core.contract import HEADER, AreaContract, PagePaging
from worker.core.display import listed
from worker.core.paths import find, is_same, leaves, parse_path, safe_path
from worker.core.retry import is_denial, is_transient
from worker.core.value import Value
from worker.errors import ContractError, DeniedError, RejectedError, TransientError
from worker.masking import OFF_ID_DIGITS

Headers = Mapping[str, Sequence[str]]
"""The values of each response header, by its name in lower case."""

VALUES_MAX: Final = 200_000
"""Maximum number of values (fields and elements) in one response. A byte of JSON can become 60
bytes of memory."""
AROUND_MAX: Final = 1_000
"""Maximum number of fields around the records of one response."""

PAGING_HEADERS: Final = ("link", "content-range", "x-pagination", "x-total-count")
"""Response headers that may announce more records."""
_NAMES_MAX: Final = 5
"""Maximum number of an object's fields in a message."""
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_REFUSALS: Final = range(400, 500)
_NOT_FOUND: Final = 404
_NATURAL: Final = re.compile(r"[0-9]{1,19}")
_LONE_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
LEARN: Final = "if PTS has changed, `pts-worker contract learn` proposes what to declare"


class Answer(Value, frozen=True, kw_only=True):
    """One page of records, as received.

    Attributes:
        items: the elements of the list of records.
        around: the leaves around the list, by their path.
        headers: the response headers.
        is_empty_by_status: the status means "no records". Body and headers do not contradict it.
    """

    hidden = frozenset({"items", "around", "headers"})

    items: list[Any]
    around: Mapping[str, Any] = msgspec.field(default_factory=dict)
    headers: Headers = msgspec.field(default_factory=dict)
    is_empty_by_status: bool = False

    def count(self, place: str) -> int:
        """The natural number at a declared place: a path, or ``header:`` and a name.

        Raises:
            ContractError: there is no natural number of at most 19 digits.
        """
        if place.startswith(HEADER):
            text = ",".join(self.headers.get(place.removeprefix(HEADER).lower(), ()))
        else:
            value = self.around.get(place)
            text = str(value) if type(value) is int else ""
        if not _NATURAL.fullmatch(text):
            raise ContractError("no natural number, where the contract declares one", field=place)
        return int(text)


def read_answer(
    status: int, headers: Headers, body: bytes | bytearray, contract: AreaContract, off_id: str
) -> Answer:
    """Read a response by its contract.

    Args:
        off_id: the identifier of the requested person.

    Raises:
        DeniedError: 401 or 403.
        RejectedError: another 4xx.
        TransientError: a transient status, or HTML or other text in place of JSON: the answer is
            not from PTS.
        ContractError: the answer is not as declared, or it exceeds a limit.
    """
    # A gateway in maintenance may send an HTML page with any status, 404 and 204 included.
    is_html = "html" in "".join(headers.get("content-type", ())).lower()
    if status in contract.empty_status and not is_html:
        return _empty_answer(headers, body, contract, off_id)
    if status != _OK:
        _refuse_status(status)
    if is_html:
        raise TransientError("an HTML page, so the answer is not from PTS", status=status)
    document = parse(body)
    items = _records(document, contract)
    # `leaves` yields `{}` itself as a leaf, which would count as an undeclared field.
    around = {} if document is items or document == {} else _around(document, items)
    answer = Answer(items=items, around=around, headers=headers)
    _check_declared(answer, contract)
    _check_values(answer, contract, off_id)
    return answer


def _empty_answer(
    headers: Headers, body: bytes | bytearray, contract: AreaContract, off_id: str
) -> Answer:
    """The answer for a status that means "no records", if body and headers do not contradict it."""
    document = parse(body) if body.strip() else {}
    if not isinstance(document, dict):
        raise ContractError("a body that is not an object, where the status means no records")
    # The body may have been cut off on its way.
    if not body and set(headers.get("content-length", ())) - {"0"}:  # RFC 9110 §8.6
        raise ContractError("a Content-Length above 0, but no body", field="$")
    _check_no_signs(document, contract)
    expected = {**contract.expect, **dict.fromkeys(contract.answer_person, off_id)}
    received = {place: find(document, parse_path(place)) for place in expected}
    # A problem document (RFC 9457) has none of these fields. Therefore an absent field counts as
    # the expected value, and only another value contradicts the status.
    around = expected | {place: value for place, value in received.items() if value is not None}
    answer = Answer(items=[], around=around, headers=headers, is_empty_by_status=True)
    _check_declared(answer, contract)
    _check_values(answer, contract, off_id)
    total = contract.total
    is_counted = total.startswith(HEADER) and total.removeprefix(HEADER).lower() in headers
    if is_counted and answer.count(total):
        raise ContractError("a total above 0, where the status means no records", field=total)
    return answer


def _check_no_signs(document: dict[str, Any], contract: AreaContract) -> None:
    """Check that no declared field of the body means that there are records."""
    paging = contract.paging
    # Page 1 of 1 is how some services describe an empty result.
    page_numbers = (paging.field, paging.pages) if isinstance(paging, PagePaging) else ()
    for place in sorted(contract.signs_of_records):
        value = find(document, parse_path(place))
        if value and not (value == 1 and place in page_numbers):
            raise ContractError("not empty, where the status means no records", field=place)


def parse(body: bytes | bytearray) -> Any:
    """Parse JSON.

    Raises:
        TransientError: it is not JSON (RFC 8259) in UTF-8.
        ContractError: it has more than ``VALUES_MAX`` values, or an object has a field twice. A
            parser would silently drop one of the two.
    """
    # An upper bound, because commas in strings count too. Memory is saved only if this is checked
    # before parsing.
    if len(body) > VALUES_MAX and sum(map(body.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise ContractError(f"a response of more than {VALUES_MAX} values", field="$")
    try:
        return _JSON.decode(body.removeprefix(BOM_UTF8).decode())
    except RecursionError:
        raise ContractError("nested too deeply", field="$") from None
    except ValueError:
        # The decoder's error contains the body, so it must not be chained.
        raise TransientError("not JSON, so the answer is not from PTS", status=200) from None


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ContractError("a field that appears twice in one object", field="$")
    return fields


def _refuse_constant(_name: str) -> NoReturn:
    # Python's decoder accepts NaN and Infinity, which are not JSON.
    raise ValueError


def _finite(text: str) -> float:
    # Python reads 1e999 as infinity.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_unique_fields, parse_constant=_refuse_constant, parse_float=_finite
)


def _refuse_status(status: int) -> NoReturn:
    if is_transient(status):
        raise TransientError(f"status {status}", status=status)
    if is_denial(status):
        raise DeniedError(f"status {status}: this client may not read", status=status)
    if status == _NOT_FOUND:
        hint = (
            "compare api.base_url and the contract's path (`pts-worker contract show`) with NHN's "
            "addresses. Declare 404 in empty_status only if it means that there are no records"
        )
        raise RejectedError(f"status {status}", status=status, hint=hint)
    if status in _REFUSALS:
        raise RejectedError(f"status {status}", status=status)
    # A redirect is never followed: it would send the identifier to another address.
    problem = "a redirect" if status in _REDIRECTS else "not a complete response"
    raise ContractError(f"status {status}: {problem}", status=status)


def _records(document: Any, contract: AreaContract) -> list[Any]:
    """The list of records."""
    value = find(document, parse_path(contract.records)) if contract.records else document
    if isinstance(value, list):
        return value
    if value is None and contract.records and isinstance(document, dict):
        # Only if declared: an error object with status 200 must not look like an empty list.
        if contract.no_records == "empty":
            return []
        raise ContractError(
            f"no list of records, but {_described(document)}: correct `records` in the contract",
            field=contract.records,
        )
    description = "a value"
    if isinstance(document, list):
        description = 'the answer itself is a list (declare `records = ""`)'
    if isinstance(value, dict):
        description = _described(value)
    raise ContractError(
        f"{description}, where the contract declares the list of records",
        field=contract.records or "$",
    )


def _described(fields: Mapping[str, Any]) -> str:
    names = ", ".join(safe_path(name) for name in [*fields][:_NAMES_MAX])
    return f"an object with {names}" if names else "an empty object"


def _around(document: Any, items: list[Any]) -> Mapping[str, Any]:
    around = dict[str, Any]()
    for path, value in leaves(document, skip=items):
        # `{"a.b": 1, "a": {"b": 2}}`: only one of the two would be checked.
        if path in around:
            raise ContractError("two fields with the same path", field=safe_path(path))
        if len(around) >= AROUND_MAX:
            raise ContractError(f"more than {AROUND_MAX} fields around the records", field="$")
        around[path] = value
    return around


def _check_declared(answer: Answer, contract: AreaContract) -> None:
    """Check that each field and each paging header around the records is declared."""
    undeclared = []
    for path in sorted(answer.around.keys() - contract.places):
        is_on_records_path = f"{contract.records}.".startswith(f"{path}.")
        # The list of records, or an object on its path, may be null.
        is_null_list = is_on_records_path and answer.around[path] in (None, {})
        if not is_null_list:
            undeclared.append(path)
    if undeclared:
        paths = [*map(safe_path, undeclared)]
        fields = f"undeclared fields {listed(paths)}" if paths[1:] else "an undeclared field"
        raise ContractError(
            f"{fields} around the records; {LEARN}. Add to `ignore` only a field that can never "
            "mean that records are missing",
            field="" if paths[1:] else paths[0],
        )
    for name in PAGING_HEADERS:
        if name in answer.headers and name not in contract.known_headers:
            raise ContractError(
                "an undeclared header that may announce more records", field=HEADER + name
            )


def _check_values(answer: Answer, contract: AreaContract, off_id: str) -> None:
    for path, expected in contract.expect.items():
        if path not in answer.around:
            raise ContractError("missing, where the contract expects a value", field=path)
        if not is_same(answer.around[path], expected):
            raise ContractError("not the value that the contract expects", field=path)
    for path in contract.answer_person:
        check_person(answer.around.get(path), off_id, path)


def check_text(text: str, where: str) -> None:
    """Raise ``ContractError`` for a lone surrogate: JSON allows it, but UTF-8 does not."""
    if _LONE_SURROGATE.search(text):
        raise ContractError("a text that is not Unicode", field=where)


def check_person(value: Any, off_id: str, where: str) -> None:
    """Check that a value is the identifier of the requested person.

    Raises:
        ContractError: it is the identifier of another person, or no identifier.
    """
    # As a JSON number, an identifier loses its leading zero.
    text = str(value).zfill(OFF_ID_DIGITS) if type(value) is int else value
    if not isinstance(text, str):
        raise ContractError("not an identifier of a person", field=where)
    if text.strip() != off_id:
        raise ContractError("not the requested person", field=where)
