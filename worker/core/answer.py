"""Reads one answer by the contract of its area, or raises the reason why that is impossible.

Everything around the records is declared, or the answer is not a complete read (promise 1): it may
say that records are missing, in words that nobody can foresee.
"""

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec

from worker.core.contract import HEADER, AreaContract, PagePaging
from worker.core.display import counted
from worker.core.paths import find, is_same, leaves, parse_path, safe_path
from worker.core.retry import is_denial, is_transient
from worker.core.value import Value
from worker.errors import ContractError, DeniedError, RejectedError, TransientError

Headers = Mapping[str, Sequence[str]]
"""The values of each response header, by its name in lower case."""

VALUES_MAX: Final = 200_000
"""Values (fields and elements) in one response: a byte of JSON can become 60 bytes of memory."""
AROUND_MAX: Final = 1_000
"""Fields around the records of one response."""

TELLING: Final = ("link", "content-range", "x-pagination", "x-total-count")
"""Headers that may speak of more records."""
_NAMES_MAX: Final = 5
"""Fields of an object that a message names."""
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_REFUSALS: Final = range(400, 500)
_NOT_FOUND: Final = 404
_OFF_ID_DIGITS: Final = 11
_NATURAL: Final = re.compile(r"[0-9]{1,19}")
_HALF_OF_A_PAIR: Final = re.compile(r"[\ud800-\udfff]")
LEARN: Final = "if PTS has changed, `pts-worker contract learn` proposes what to declare"


class Answer(Value, frozen=True, kw_only=True):
    """One page of records, as received.

    Attributes:
        items: the elements of the list of records.
        around: the leaves around the list, by their path.
        headers: the response headers.
        is_status_alone: the status says that there are no records, and nothing contradicts.
    """

    hidden = frozenset({"items", "around", "headers"})

    items: list[Any]
    around: Mapping[str, Any] = msgspec.field(default_factory=dict)
    headers: Headers = msgspec.field(default_factory=dict)
    is_status_alone: bool = False

    def count(self, place: str) -> int:
        """The natural number at a declared place: a path, or ``header:`` and a name.

        Raises:
            ContractError: there is none of at most 19 digits.
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
        off_id: the person asked for.

    Raises:
        DeniedError: 401 or 403.
        RejectedError: another 4xx.
        TransientError: a transient status, or what answers is not PTS: not JSON.
        ContractError: the answer is not as declared, or it exceeds a limit.
    """
    is_html = "html" in "".join(headers.get("content-type", ())).lower()
    if status in contract.empty_status and not is_html:
        return _nothing(headers, body, contract, off_id)
    if status != _OK:
        _refuse_status(status)
    if is_html:
        raise TransientError("an HTML page: what answers is not PTS", status=status)
    document = parse(body)
    items = _records(document, contract)
    around = {} if document is items or document == {} else _around(document, items)
    answer = Answer(items=items, around=around, headers=headers)
    _check_declared(answer, contract)
    _check_values(answer, contract, off_id)
    return answer


def _nothing(
    headers: Headers, body: bytes | bytearray, contract: AreaContract, off_id: str
) -> Answer:
    """The answer of a status that says that there are no records, unless anything contradicts."""
    document = parse(body) if body.strip() else {}
    if not isinstance(document, dict):
        raise ContractError("a body that describes no problem, where the status says no records")
    if not body and set(headers.get("content-length", ())) - {"0"}:  # RFC 9110 §8.6
        raise ContractError("the length of a body that this status cannot have", field="$")
    paging = contract.paging
    numbers = (paging.field, paging.pages) if isinstance(paging, PagePaging) else ()
    for place in sorted(contract.counting):
        value = find(document, parse_path(place))
        if value and not (value == 1 and place in numbers):
            raise ContractError("not empty, where the status says no records", field=place)
    wanted = {**contract.expect, **dict.fromkeys(contract.answer_person, off_id)}
    found = {place: find(document, parse_path(place)) for place in wanted}
    # What a description of a problem leaves out contradicts nothing.
    around = wanted | {place: value for place, value in found.items() if value is not None}
    answer = Answer(items=[], around=around, headers=headers, is_status_alone=True)
    _check_declared(answer, contract)
    _check_values(answer, contract, off_id)
    total = contract.total
    is_counted = total.startswith(HEADER) and total.removeprefix(HEADER).lower() in headers
    if is_counted and answer.count(total):
        raise ContractError("records are counted where the status says none", field=total)
    return answer


def parse(body: bytes | bytearray) -> Any:
    """Parse JSON.

    Raises:
        TransientError: it is not JSON (RFC 8259) in UTF-8.
        ContractError: it has more than ``VALUES_MAX`` values, or an object has a field twice, of
            which a parser would silently drop one.
    """
    # Commas in strings count, too. It is checked before there are values.
    if len(body) > VALUES_MAX and sum(map(body.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise ContractError(f"a response of more than {VALUES_MAX} values", field="$")
    try:
        return _JSON.decode(body.removeprefix(BOM_UTF8).decode())
    except RecursionError:
        raise ContractError("nested too deeply", field="$") from None
    except ValueError:
        # The error holds the body, so it must not be chained.
        raise TransientError("not JSON: what answers is not PTS", status=200) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ContractError("a field that appears twice in one object", field="$")
    return fields


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_refuse_constant, parse_float=_finite
)


def _refuse_status(status: int) -> NoReturn:
    if is_transient(status):
        raise TransientError(f"status {status}", status=status)
    if is_denial(status):
        raise DeniedError(f"status {status}: this client may not read", status=status)
    if status == _NOT_FOUND:
        hint = (
            "check the contract's path, and that PTS knows the person; only if 404 means that "
            "there are no records, declare it in empty_status"
        )
        raise RejectedError(f"status {status}", status=status, hint=hint)
    if status in _REFUSALS:
        raise RejectedError(f"status {status}", status=status)
    what = "a redirect" if status in _REDIRECTS else "not a complete response"
    raise ContractError(f"status {status}: {what}", status=status)


def _records(document: Any, contract: AreaContract) -> list[Any]:
    """The list of records."""
    found = find(document, parse_path(contract.records)) if contract.records else document
    if isinstance(found, list):
        return found
    if found is None and contract.records and isinstance(document, dict):
        if contract.no_records == "empty":
            return []
        raise ContractError(f"no list of records; {LEARN}", field=contract.records)
    what = "a value"
    if isinstance(found, dict):
        names = ", ".join(safe_path(name) for name in [*found][:_NAMES_MAX])
        what = f"an object with {names}" if names else "an empty object"
    raise ContractError(
        f"{what}, where the contract declares the list of records; {LEARN}",
        field=contract.records or "$",
    )


def _around(document: Any, items: list[Any]) -> Mapping[str, Any]:
    found = dict[str, Any]()
    for path, value in leaves(document, but=items):
        if path in found:
            raise ContractError("two fields with the same path", field=safe_path(path))
        if len(found) >= AROUND_MAX:
            raise ContractError(f"more than {AROUND_MAX} fields around the records", field="$")
        found[path] = value
    return found


def _check_declared(answer: Answer, contract: AreaContract) -> None:
    """Nothing stands around the records that is not declared."""
    undeclared = [
        path
        for path in sorted(answer.around.keys() - contract.places)
        # The list, or what holds it, may be null.
        if answer.around[path] not in (None, {})
        or not f"{contract.records}.".startswith(f"{path}.")
    ]
    if undeclared:
        others = f", and {counted(len(undeclared) - 1, 'other')}" if undeclared[1:] else ""
        raise ContractError(
            f"an undeclared field around the records{others}; {LEARN}; add it to `ignore` only if "
            "it can never say that records are missing",
            field=safe_path(undeclared[0]),
        )
    for name in TELLING:
        if name in answer.headers and name not in contract.known_headers:
            raise ContractError(
                "a header that may speak of more records, and is not declared", field=HEADER + name
            )


def _check_values(answer: Answer, contract: AreaContract, off_id: str) -> None:
    for path, wanted in contract.expect.items():
        if path not in answer.around:
            raise ContractError("missing, where the contract expects a value", field=path)
        if not is_same(answer.around[path], wanted):
            raise ContractError("not the value that the contract expects", field=path)
    for path in contract.answer_person:
        check_person(answer.around.get(path), off_id, path)


def check_text(text: str, where: str) -> None:
    """Raise ``ContractError`` for what nothing can store or send: JSON can escape half a pair."""
    if _HALF_OF_A_PAIR.search(text):
        raise ContractError("a text that is not Unicode", field=where)


def check_person(value: Any, off_id: str, where: str) -> None:
    """Check that a value is the identifier of the person asked for.

    Raises:
        ContractError: it is another one, or none.
    """
    text = str(value).zfill(_OFF_ID_DIGITS) if type(value) is int else value
    if not isinstance(text, str):
        raise ContractError("not an identifier of a person", field=where)
    if text.strip() != off_id:
        raise ContractError("not the requested person", field=where)
