# ruff: noqa: TRY004 - a wrong type is an error of the answer, not of the caller
"""Turns the items of an answer into ``Record`` values by the contract, or refuses them.

Only declared fields are kept; what else a record holds is counted by name, as drift.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from worker.core.answer import check_person
from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.budgets import DRIFT_MAX, TEXT_MAX
from worker.core.contract import EACH, AreaContract, Leaves, Paths
from worker.core.model import ColumnValue, Person, Record
from worker.core.paths import (
    UNNAMED,
    FieldPath,
    find,
    leaves,
    parse_path,
    safe_path,
    without_numbers,
)
from worker.core.times import END_OF_TIME, parse_time
from worker.core.value import Value
from worker.errors import ContractError
from worker.masking import MASK, mask_identifiers

HASH_BYTES: Final = 16
"""Length of a content hash and of a proof's digest."""
KEY_BYTES_MAX: Final = 1_000
"""Maximum length of a record key: PostgreSQL limits index rows to 2,704 bytes."""
ELEMENTS_MAX: Final = 1_000
"""Elements of a list in one column."""

_INTEGER_BITS: Final = 63
"""The range of a signed 64-bit database column."""
_NOTHING: Final[tuple[Any, ...]] = (None, {}, [])

_Alternatives: TypeAlias = tuple[FieldPath, ...]
_TypeReader: TypeAlias = Callable[[Any, str], ColumnValue]
"""Converts a value to its column's type, with what the contract says of times without a zone.

It raises ``ValueError`` if that is impossible; the message does not hold the value.
"""


class Page(Value, frozen=True, kw_only=True):
    """One page of an area.

    Attributes:
        drift: in how many records each undeclared field stands, by its path.
    """

    records: tuple[Record, ...]
    drift: Mapping[str, int] = msgspec.field(default_factory=dict)


class _Source(NamedTuple):
    """Where a column or extra comes from: one value, or leaves, perhaps of each element.

    Attributes:
        scalar: alternatives of its path; empty if it is made of leaves.
    """

    name: str
    scalar: _Alternatives
    leaves: tuple[tuple[str, _Alternatives], ...]
    each: FieldPath | None


class RecordReader:
    """Reads items of one area. What depends on the contract alone is done once."""

    def __init__(self, area: ResourceArea, contract: AreaContract) -> None:
        self._contract = contract
        self._columns = area.columns
        self._sources = {name: _source(name, text) for name, text in contract.columns.items()}
        self._extra = tuple(_source(name, text) for name, text in contract.extra.items())
        self._persons = tuple(map(parse_path, contract.person))
        self._key = tuple(map(parse_path, contract.id.split("+")))

    def read(self, items: list[Any], person: Person) -> Page:
        """The records of a page's items.

        Raises:
            ContractError: an item is not a record of this person and area, as it is declared.
        """
        off_id = person.off_id.reveal()
        records: dict[str, Record] = {}
        drift = Counter[str]()
        for index, item in enumerate(items):
            where = f"{self._contract.records}[{index}]"
            record = self._record(item, off_id, where)
            if record.key in records:
                raise ContractError("a record with the key of an earlier one", field=where)
            records[record.key] = record
            self._add_drift(drift, item)
        return Page(records=tuple(records.values()), drift=drift)

    def _record(self, item: Any, off_id: str, where: str) -> Record:
        if not isinstance(item, dict):
            raise ContractError("not an object", field=where)
        for path in self._persons:
            value = find(item, path)
            if value is not None:
                check_person(value, off_id, f"{where}.{path.text}")
        columns = {c.name: self._column(c, item, where, off_id) for c in self._columns}
        for name in self._contract.required:
            if _is_blank(columns[name]):
                raise ContractError(f"no {name}, which the contract requires", field=where)
        extra = {source.name: _value(source, item, where, off_id) for source in self._extra}
        extra = {name: value for name, value in extra.items() if value is not None}
        return Record(
            key=self._key_of(item, where, off_id),
            content_hash=self._hash(columns | extra),
            columns=tuple(columns.values()),
            extra=_json(extra) if extra else None,
        )

    def _column(self, column: Column, item: dict[str, Any], where: str, own: str) -> ColumnValue:
        source = self._sources.get(column.never_of or column.name)
        value = None if source is None else _value(source, item, where, own)
        if value is None:
            return None
        known = self._contract.values.get(column.name)
        if known is not None and not isinstance(value, dict | list):
            value = known.get(_plain(value), value)
        try:
            kind = ColumnType.TIME if column.never_of else column.type
            read = TYPE_READERS[kind](value, self._contract.naive_times)
        except ValueError as error:
            raise ContractError(f"{column.name}: {error}", field=where) from None
        return read == END_OF_TIME if column.never_of else read

    def _key_of(self, item: dict[str, Any], where: str, own: str) -> str:
        """A record's key, with its parts joined by ``|``."""
        parts = list[str]()
        for path in self._key:
            value = find(item, path)
            text = _plain(value) if isinstance(value, str | int) else ""
            if not text.strip() or isinstance(value, bool):
                raise ContractError("no id", field=f"{where}.{path.text}")
            parts.append(_stored_text(text, f"{where}.{path.text}", own))
        key = parts[0]
        if parts[1:]:
            key = "|".join(part.replace("\\", r"\\").replace("|", r"\|") for part in parts)
        if len(key.encode()) > KEY_BYTES_MAX:
            raise ContractError(f"an id of more than {KEY_BYTES_MAX} bytes", field=where)
        return key

    def _add_drift(self, drift: Counter[str], item: dict[str, Any]) -> None:
        """Count the undeclared leaves of a record by name, each name once."""
        counted = set[str]()
        for path, value in leaves(item):
            name = without_numbers(path)
            if name in self._contract.record_paths:
                continue
            if value in _NOTHING and name in self._contract.record_parents:
                continue
            name = safe_path(name)
            if name not in drift and len(drift) >= DRIFT_MAX:
                name = UNNAMED
            if name not in counted:
                counted.add(name)
                drift[name] += 1

    def _hash(self, values: Mapping[str, Any]) -> bytes:
        """A hash of names and values that are there: declaring a field changes few rows."""
        lasting = {
            name: value
            for name, value in values.items()
            if value is not None and name not in self._contract.volatile
        }
        return blake2b(_json(lasting).encode(), digest_size=HASH_BYTES).digest()


def _source(name: str, text: Paths | Leaves) -> _Source:
    if not isinstance(text, dict):
        return _Source(name, tuple(map(parse_path, text)), (), None)
    named = {leaf: tuple(map(parse_path, paths)) for leaf, paths in text.items() if leaf != EACH}
    each = parse_path(text[EACH][0]) if EACH in text else None
    return _Source(name, (), tuple(named.items()), each)


def _value(source: _Source, item: dict[str, Any], where: str, own: str) -> Any:
    """The declared value: a scalar, or an object or list of declared leaves; None for none."""
    if source.scalar:
        return _scalar(source.scalar, item, where, own)
    if source.each is None:
        return _leaves(source, item, where, own)
    array = find(item, source.each)
    if array is None:
        return None
    place = f"{where}.{source.each.text}"
    if not isinstance(array, list) or len(array) > ELEMENTS_MAX:
        raise ContractError(f"not a list of at most {ELEMENTS_MAX} elements", field=place)
    return [_leaves(source, element, place, own) or {} for element in array] or None


def _leaves(source: _Source, parent: Any, where: str, own: str) -> dict[str, Any] | None:
    found = {name: _scalar(paths, parent, where, own) for name, paths in source.leaves}
    return {name: value for name, value in found.items() if value is not None} or None


def _scalar(paths: _Alternatives, parent: Any, where: str, own: str) -> Any:
    """The value at the first path that has one, with identifiers masked.

    Raises:
        ContractError: it is an object or a list.
    """
    for path in paths:
        value = find(parent, path)
        if value is not None:
            place = f"{where}.{path.text}"
            if isinstance(value, dict | list):
                raise ContractError(
                    "an object or a list; declare its leaves in the contract", field=place
                )
            return _stored_scalar(value, place, own)
    return None


def _stored_scalar(value: Any, place: str, own: str) -> Any:
    """A scalar as it may be stored; a number that is an identifier is masked as a text is."""
    if isinstance(value, str):
        return _stored_text(value, place, own)
    if value is None or isinstance(value, bool):
        return value
    text = str(int(value))
    if len(text) == len(own) - 1:  # a number has lost its leading zero
        text = f"0{text}"
    return MASK if mask_identifiers(text, own) != text else value


def _is_blank(value: ColumnValue) -> bool:
    """Whether a value says nothing: none, or a text without a letter or a digit."""
    return value is None or (isinstance(value, str) and not any(map(str.isalnum, value)))


def _stored_text(text: str, place: str, own: str) -> str:
    """A text as it may be stored: without identifiers, this person's own among them."""
    if len(text) > TEXT_MAX:
        raise ContractError(f"a text of more than {TEXT_MAX} characters", field=place)
    try:
        text.encode()  # a lone surrogate, which JSON can escape, is no text
    except UnicodeEncodeError:
        raise ContractError("a text that is not Unicode", field=place) from None
    if "\0" in text:
        raise ContractError("a NUL character, which databases cannot store", field=place)
    return mask_identifiers(text, own)


def _plain(value: Any) -> str:
    """A scalar as JSON writes it, without quotes."""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _as_text(value: Any, _naive_times: str) -> str:
    if isinstance(value, dict | list):
        return _json(value)
    if not isinstance(value, str):
        raise ValueError("not a text; if it is a code, declare what its values mean")
    return value


def _as_integer(value: Any, _naive_times: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not an integer")
    if value.bit_length() > _INTEGER_BITS:
        raise ValueError("a number too large to store")
    return value


def _as_boolean(value: Any, _naive_times: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _as_json(value: Any, _naive_times: str) -> str:
    return _json(value)


def _as_time(value: Any, naive_times: str) -> datetime:
    if not isinstance(value, str):
        raise ValueError("not a time")
    zone = None if naive_times == "failure" else ZoneInfo(naive_times)
    return parse_time(value, naive=zone)


TYPE_READERS: Final[Mapping[ColumnType, _TypeReader]] = {
    ColumnType.TEXT: _as_text,
    ColumnType.INTEGER: _as_integer,
    ColumnType.BOOLEAN: _as_boolean,
    ColumnType.TIME: _as_time,
    ColumnType.JSON: _as_json,
}


class KeyedHash(NamedTuple):
    """The input of a digest."""

    key: str
    content_hash: bytes


def digest_of(records: Iterable[Record | KeyedHash]) -> bytes:
    """A digest of the sorted keys and hashes, independent of the records' order."""
    digest = blake2b(digest_size=HASH_BYTES)
    for record in sorted(records, key=lambda record: record.key):
        key = record.key.encode()
        digest.update(b"%d:%b%b" % (len(key), key, record.content_hash))
    return digest.digest()
