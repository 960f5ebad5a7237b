"""The contract that the stand-in for PTS follows, read by code of the sandbox only.

The keys are explained in ``worker/areas/pts.toml``, the default contract.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from worker.sandbox.people import COLUMNS, NEVER, Document, Restriction, sample

DEFAULT: Final = Path(__file__).parents[1] / "areas/pts.toml"
OFF_ID: Final = "{off_id}"
"""The placeholder for the person's identifier in the body."""
HEADER: Final = "header:"
"""Prefix of a response header in place of a path."""
EACH: Final = "each"
"""The key with the path of the array whose elements have the leaves."""

Paths: TypeAlias = str | list[str]
Source: TypeAlias = Paths | dict[str, Paths]


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The paging style. The style decides which keys are used."""

    style: Literal["none", "link", "next_link", "token", "page", "offset", "reference"] = "none"
    field: str = ""
    send_as: str = ""
    send_in: Literal["body", "query"] = "body"
    first: int = 1
    pages: str = ""
    more: str = ""


class AreaContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contract of one area."""

    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: dict[str, Any] = msgspec.field(default_factory=lambda: {"offId": OFF_ID})
    records: str = ""
    no_records: Literal["failure", "empty"] = "failure"
    empty_status: tuple[int, ...] = ()
    expect: dict[str, Any] = {}
    answer_person: tuple[str, ...] = ()
    paging: Paging | Literal["none"] = "none"
    total: str = ""
    ignore: tuple[str, ...] = ()
    id: str = "id"
    person: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    volatile: tuple[str, ...] = ()
    naive_times: Literal["failure", "UTC", "Europe/Oslo"] = "failure"
    columns: dict[str, Source]
    values: dict[str, dict[str, str]] = {}
    extra: dict[str, Source] = {}

    @property
    def pages(self) -> Paging:
        """The paging, also for ``none``."""
        return Paging() if isinstance(self.paging, str) else self.paging


Contract: TypeAlias = dict[str, AreaContract]


def read_contract(source: str | Mapping[str, Any]) -> Contract:
    """Read a contract: a TOML file or its content. Empty: the default contract.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a contract.
    """
    name, tables = "the contract", source
    if isinstance(source, str):
        name = source or str(DEFAULT)
        text = Path(name).read_text(encoding="utf-8")
        try:
            tables = tomllib.loads(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    try:
        contract = msgspec.convert(tables, Contract)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from None
    for area, declared in contract.items():
        if OFF_ID not in str(declared.body):
            raise ValueError(f"{name}: in {area} the body does not contain {OFF_ID}")
        if unknown := sorted(declared.columns.keys() - COLUMNS.get(area, frozenset())):
            raise ValueError(f"{name}: {area} has no column {unknown[0]}")
    return contract


# Records.

_Step: TypeAlias = str | int | tuple[str, Any]
"""A field, the number of an element, or the element whose field has a value."""

_STEP: Final = re.compile(r"([^.\[\]]*@.+|[^.\[\]]+)|\[(\d+)\]|\[([^\[\]=]+)=([^\[\]]+)\]")
"""A step of a path. An annotation such as `@odata.nextLink` is one name."""
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)")
_KIND: Final = "Restriction"
"""The value of the first parts of a compound id, unless a column has one."""


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[_Step, ...]:
    return tuple(
        name or (int(index) if index else (field, _plain(value)))
        for name, index, field, value in _STEP.findall(path)
    )


def _plain(text: str) -> Any:
    """The JSON value of a text in the contract: a whole number, true or false, or the text."""
    if _NUMBER.fullmatch(text):
        return int(text)
    return {"true": True, "false": False}.get(text, text)


def put(document: Document, path: str, value: Any, *, null_parents: bool = False) -> None:
    """Write a value at a path. Null never replaces a value.

    With ``null_parents``, null creates no parents. The first missing parent becomes null.

    Raises:
        ValueError: there is a value where the path needs an object or an array.
    """
    steps = _steps(path)
    holder: Any = document
    for step, after in pairwise(steps):
        child = _get(holder, step)
        if child is None and value is None and null_parents:
            if isinstance(step, str):
                _set(holder, step, None)
            return
        if child is None:
            child = _set(holder, step, {} if isinstance(after, str) else [])
        holder = child
    if _get(holder, steps[-1]) is None or value is not None:
        _set(holder, steps[-1], value)


def _get(holder: Any, step: _Step) -> Any:
    needed: type[Any] = dict if isinstance(step, str) else list
    if not isinstance(holder, needed):
        raise ValueError("a field is a value on one path and has fields on another")  # noqa: TRY004
    if isinstance(step, str):
        return holder.get(step)
    if isinstance(step, int):
        return holder[step] if step < len(holder) else None
    name, selector = step
    return next((element for element in holder if element.get(name) == selector), None)


def _set(holder: Any, step: _Step, value: Any) -> Any:
    """Write a value and return it."""
    if isinstance(step, tuple):
        name, selector = step
        value = {name: selector}
        # An element selected by true or false gets a sibling with the opposite value, so that a
        # client that takes the first element is wrong.
        holder += [{name: not selector}, value] if isinstance(selector, bool) else [value]
        return value
    if isinstance(step, int):
        holder += [{} for _ in range(len(holder), step + 1)]
    holder[step] = value
    return value


class Renderer:
    """Renders the restrictions of an area.

    Raises:
        ValueError: a path cannot be written.
    """

    def __init__(self, area: str, contract: AreaContract) -> None:
        self._contract = contract
        self._ids = contract.id.split("+")
        self._sent = {
            # If several sent values are stored as one, the first is sent.
            column: {stored: _plain(sent) for sent, stored in reversed(values.items())}
            for column, values in contract.values.items()
        }
        # A whole array comes before fields of one of its elements.
        self._columns = sorted(contract.columns.items(), key=lambda item: not _has_array(item[1]))
        self.record(sample(area, "0" * 11))

    def record(self, restriction: Restriction) -> Document:
        """A record as PTS sends it. Without ``id`` if that of the restriction is empty."""
        document: Document = {}
        if restriction.id:
            for path in self._ids:
                put(document, path, restriction.id if path == self._ids[-1] else _KIND)
        for path in self._contract.person[:1]:
            put(document, path, restriction.off_id)
        for name, source in self._columns:
            # A record without an id must not get it from a column with the same path.
            if restriction.id or _first(source) not in self._ids:
                self._write(document, name, source, restriction.values[name])
        for name, source in self._contract.extra.items():
            self._write(document, name, source, _made_up(restriction, name, source))
        return restriction.undeclared | document

    def _write(self, document: Document, name: str, source: Source, value: Any) -> None:
        if not isinstance(source, dict):
            put(document, _first(source), self._sendable(name, value), null_parents=True)
        elif _has_array(source):
            elements: list[Document] = [{} for _ in value]
            leaves = {leaf: paths for leaf, paths in source.items() if leaf != EACH}
            for element, values in zip(elements, value, strict=True):
                self._write(element, "", leaves, values)
            put(document, _first(source[EACH]), elements)
        else:
            for leaf, paths in source.items():
                self._write(document, leaf, paths, value.get(leaf))

    def _sendable(self, name: str, value: Any) -> Any:
        if isinstance(value, datetime):
            return _text(value, self._contract.naive_times)
        if isinstance(value, dict):  # an author, where the contract has no leaves of one
            return ", ".join(value.values())
        return self._sent.get(name, {}).get(value, value) if isinstance(value, str) else value


def _text(at: datetime, zone: str) -> str:
    """A time as PTS sends it, with .NET's seven digits (model types, section 2)."""
    is_naive = zone != "failure"
    if is_naive and at != NEVER:
        at = at.astimezone(ZoneInfo(zone))
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}{9 if at == NEVER else 1}{'' if is_naive else 'Z'}"


def _has_array(source: Source) -> bool:
    """Whether the leaves are those of each element of an array."""
    return isinstance(source, dict) and EACH in source


def _first(source: Source) -> str:
    """The path that is written. Empty for an object of leaves."""
    if isinstance(source, dict):
        return ""
    return source if isinstance(source, str) else source[0]


def _made_up(restriction: Restriction, name: str, source: Source) -> Any:
    """A value for a field in ``extra``, the same on every call."""
    if isinstance(source, dict):
        leaves = {leaf: _made_up(restriction, leaf, "") for leaf in source if leaf != EACH}
        return [leaves] if EACH in source else leaves
    return f"{name} of {restriction.id}"
