# ruff: noqa: TRY004 - a wrong type is an error of the answer, not of the caller
"""Converts the items of an answer to ``Record`` values by the contract, or rejects them.

Only declared fields are kept. The names of all other fields are counted as drift.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from worker.core.answer import check_person, check_text
from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.contract import EACH, AreaContract, SourceText
from worker.core.model import ColumnValue, Person, Record
from worker.core.paths import UNNAMED, FieldPath, find, leaves, parse_path, safe_path
from worker.core.times import END_OF_TIME, parse_time
from worker.core.value import Value
from worker.errors import ContractError
from worker.masking import MASK, mask_identifiers

HASH_BYTES: Final = 16
"""Length of a content hash and of a proof's digest."""
KEY_BYTES_MAX: Final = 1_000
"""Maximum length of a record key: PostgreSQL limits index rows to 2,704 bytes."""
ELEMENTS_MAX: Final = 1_000
"""Maximum number of elements of a list in one column."""
TEXT_MAX: Final = 10_000
"""Maximum number of characters of a stored text. A typical record is smaller than 1 KB."""
DRIFT_MAX: Final = 100
"""Maximum number of names of undeclared fields that are counted on one page."""
LEDGER_DRIFT_MAX: Final = 1_000
"""Maximum number of names of undeclared fields of one area in the ledger, over all runs."""

_INTEGER_BITS: Final = 63
"""Bits of a signed 64-bit integer, without the sign."""
_NOTHING: Final[tuple[Any, ...]] = (None, {}, [])
_CONTAINERS: Final = (dict, list)
_IDS: Final = (str, int)

_Alternatives: TypeAlias = tuple[FieldPath, ...]
_Convert: TypeAlias = Callable[[Any], ColumnValue]
"""Converts a value to its column's type.

It raises ``ValueError`` if that is impossible. The message does not contain the value.
"""


class Page(Value, frozen=True, kw_only=True):
    """One page of an area.

    Attributes:
        drift: for each undeclared field, by its path, the number of records that have it.
    """

    records: tuple[Record, ...]
    drift: Mapping[str, int] = msgspec.field(default_factory=dict)


class _Source(NamedTuple):
    """The source of a column or extra: one value, an object of leaves, or a list of such objects.

    Attributes:
        scalar: the alternative paths of the value. Empty for leaves.
        leaves: the name of each leaf, and its alternative paths.
        each: the path of the array of objects with the leaves. None for one object.
    """

    name: str
    scalar: _Alternatives
    leaves: tuple[tuple[str, _Alternatives], ...]
    each: FieldPath | None


class _MappedColumn(NamedTuple):
    """A typed column, the source of its value, and its conversion.

    Attributes:
        meanings: the stored value for each value that PTS sends.
    """

    column: Column
    source: _Source | None
    meanings: Mapping[str, str] | None
    convert: _Convert


class RecordReader:
    """Reads items of one area. The contract's paths are parsed once, for all records."""

    def __init__(self, area: ResourceArea, contract: AreaContract) -> None:
        self._contract = contract
        self._mapped_columns = tuple(_mapped(column, contract) for column in area.columns)
        self._extra = tuple(_source(name, paths) for name, paths in contract.extra.items())
        self._person_paths = tuple(map(parse_path, contract.person))
        self._key_paths = tuple(map(parse_path, contract.id.split("+")))
        self._declared = contract.record_paths
        self._parents = contract.record_parents

    def read(self, items: list[Any], person: Person) -> Page:
        """The records of a page's items.

        Raises:
            ContractError: an item is not a record of this person and area, as it is declared.
        """
        off_id = person.off_id.reveal()
        records: dict[str, Record] = {}
        drift: dict[str, int] = {}
        for index, item in enumerate(items):
            where = f"{self._contract.records}[{index}]"
            try:
                record = self._record(item, off_id)
            except ContractError as error:
                raise error.inside(where) from None
            # Two records with one key cannot both be stored. Either choice would lose a record.
            if record.key in records:
                raise ContractError("a record with the key of an earlier one", field=where)
            records[record.key] = record
            self._add_drift(drift, item)
        return Page(records=tuple(records.values()), drift=drift)

    def _record(self, item: Any, off_id: str) -> Record:
        if not isinstance(item, dict):
            raise ContractError("not an object")
        self._check_person(item, off_id)
        columns = self._columns(item, off_id)
        for name in self._contract.required:
            if _is_blank(columns[name]):
                raise ContractError(f"no {name}, which the contract requires")
        extra = {source.name: _value(source, item, off_id) for source in self._extra}
        extra = {name: value for name, value in extra.items() if value is not None}
        return Record(
            key=self._key_of(item, off_id),
            content_hash=self._hash(columns | extra),
            columns=tuple(columns.values()),
            extra=_json(extra) if extra else None,
        )

    def _check_person(self, item: dict[str, Any], off_id: str) -> None:
        """Check that a record names the requested person, if the contract declares where."""
        persons = {path.text: find(item, path) for path in self._person_paths}
        if self._person_paths and all(person is None for person in persons.values()):
            raise ContractError(
                "no person at the declared path; declare `person = []` if records name no person",
                field=self._person_paths[0].text,
            )
        # Each path that has a value is checked: an answer may mix records of two persons.
        for path, person in persons.items():
            if person is not None:
                check_person(person, off_id, path)

    def _columns(self, item: dict[str, Any], off_id: str) -> dict[str, ColumnValue]:
        columns: dict[str, ColumnValue] = {}
        for mapped in self._mapped_columns:
            column, source = mapped.column, mapped.source
            if column.derived_from:
                time = columns[column.derived_from]
                columns[column.name] = None if time is None else time == END_OF_TIME
            else:
                value = None if source is None else _value(source, item, off_id)
                columns[column.name] = None if value is None else _converted(mapped, value)
        return columns

    def _key_of(self, item: dict[str, Any], off_id: str) -> str:
        """A record's key. Several parts are joined by ``|``."""
        parts = [_key_part(find(item, path), path, off_id) for path in self._key_paths]
        key = parts[0]
        if parts[1:]:
            # Escaped, so that ("a|b", "c") and ("a", "b|c") are two keys.
            key = "|".join(part.replace("\\", r"\\").replace("|", r"\|") for part in parts)
        if len(key.encode()) > KEY_BYTES_MAX:
            raise ContractError(f"an id of more than {KEY_BYTES_MAX} bytes")
        return key

    def _add_drift(self, drift: dict[str, int], item: dict[str, Any]) -> None:
        """Count the names of a record's undeclared leaves. Each name counts once per record."""
        counted = set[str]()
        for path, value in leaves(item, has_indexes=False):
            if path in self._declared or (path in self._parents and value in _NOTHING):
                continue
            name = safe_path(path)
            # A service that uses values as names would otherwise fill memory and the ledger.
            if name not in drift and len(drift) >= DRIFT_MAX:
                name = UNNAMED
            if name not in counted:
                counted.add(name)
                drift[name] = drift.get(name, 0) + 1

    def _hash(self, values: Mapping[str, Any]) -> bytes:
        """A hash of the names and values of all fields that have a value.

        Absent fields are left out, so that a newly declared field changes only rows that have it.
        """
        hashed = {
            name: value
            for name, value in values.items()
            if value is not None and name not in self._contract.volatile
        }
        return blake2b(_json(hashed).encode(), digest_size=HASH_BYTES).digest()


def _source(name: str, declared: SourceText) -> _Source:
    if not isinstance(declared, dict):
        return _Source(name, tuple(map(parse_path, declared)), (), None)
    parsed = {leaf: tuple(map(parse_path, paths)) for leaf, paths in declared.items()}
    each = parsed.pop(EACH)[0] if EACH in parsed else None
    return _Source(name, (), tuple(parsed.items()), each)


def _mapped(column: Column, contract: AreaContract) -> _MappedColumn:
    declared = contract.columns.get(column.name)
    source = None if declared is None else _source(column.name, declared)
    convert = converter(column.type, contract.naive_times)
    return _MappedColumn(column, source, contract.values.get(column.name), convert)


def _converted(mapped: _MappedColumn, value: Any) -> ColumnValue:
    # .NET sends enums as numbers by default, so 1 may mean "NORU".
    if mapped.meanings is not None and not isinstance(value, _CONTAINERS):
        value = mapped.meanings.get(_plain(value), value)
    try:
        return mapped.convert(value)
    except ValueError as error:
        raise ContractError(f"{mapped.column.name}: {error}") from None


def _value(source: _Source, item: dict[str, Any], off_id: str) -> Any:
    """The declared value: a scalar, an object or list of declared leaves, or None."""
    if source.scalar:
        return _scalar(source.scalar, item, off_id)
    if source.each is None:
        return _leaves(source, item, off_id)
    array = find(item, source.each)
    if array is None:
        return None
    place = source.each.text
    # One hostile record must not fill the database.
    if not isinstance(array, list) or len(array) > ELEMENTS_MAX:
        raise ContractError(f"not a list of at most {ELEMENTS_MAX} elements", field=place)
    try:
        # An empty object keeps the place of its element. An empty list counts as absent.
        return [_leaves(source, element, off_id) or {} for element in array] or None
    except ContractError as error:
        raise error.inside(place) from None


def _leaves(source: _Source, parent: Any, off_id: str) -> dict[str, Any] | None:
    values = {name: _scalar(paths, parent, off_id) for name, paths in source.leaves}
    return {name: value for name, value in values.items() if value is not None} or None


def _key_part(value: Any, path: FieldPath, off_id: str) -> str:
    """An id, or a part of one, with the person's identifier masked.

    Other identifiers are rejected, because masking could make two different ids equal.
    """
    if not isinstance(value, _IDS) or isinstance(value, bool) or not _plain(value).strip():
        raise ContractError("no id", field=path.text)
    text = _plain(value)
    if f"0{text}".startswith(off_id):  # the identifier has lost its leading zero, as a number does
        text = f"0{text}"
    stored = _stored_text(text, path, off_id)
    if stored != text.replace(off_id, MASK):
        message = "an id that contains a national identifier; declare another id"
        raise ContractError(message, field=path.text)
    return stored


def _scalar(paths: _Alternatives, parent: Any, off_id: str) -> Any:
    """The value at the first path that has one, with identifiers masked.

    Raises:
        ContractError: it is an object or a list.
    """
    for path in paths:
        value = find(parent, path)
        # An empty text counts as missing, as null does, so the next alternative is used.
        if value not in (None, ""):
            return _stored_scalar(value, path, off_id)
    return None


def _stored_scalar(value: Any, path: FieldPath, off_id: str) -> Any:
    """A scalar as it may be stored. A number that is an identifier is masked, as in a text."""
    if isinstance(value, str):
        return _stored_text(value, path, off_id)
    if isinstance(value, bool):
        return value
    if isinstance(value, _CONTAINERS):
        raise ContractError(
            "an object or a list; declare its leaves in the contract", field=path.text
        )
    text = _with_lost_zero(value, off_id)
    return MASK if _stored_text(text, path, off_id) != text else value


def _with_lost_zero(number: float, off_id: str) -> str:
    """The digits of a number, with the leading zero that an identifier loses as a number."""
    text = str(int(number))
    restored = f"0{text}"
    return restored if len(restored) == len(off_id) or restored.startswith(off_id) else text


def _is_blank(value: ColumnValue) -> bool:
    """Whether a value is None, or a text without a letter or a digit."""
    return value is None or (isinstance(value, str) and not any(map(str.isalnum, value)))


def _stored_text(text: str, path: FieldPath, off_id: str) -> str:
    """A text as it may be stored: with this person's identifier and all others masked."""
    if len(text) > TEXT_MAX:
        raise ContractError(f"a text of more than {TEXT_MAX} characters", field=path.text)
    check_text(text, path.text)
    if "\0" in text:
        raise ContractError("a NUL character, which databases cannot store", field=path.text)
    return mask_identifiers(text, off_id)


def _plain(value: Any) -> str:
    """A scalar as JSON writes it, without quotes."""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _as_text(value: Any) -> str:
    if isinstance(value, _CONTAINERS):
        return _json(value)
    if not isinstance(value, str):
        raise ValueError("not a text; if it is a code, declare what its values mean")
    return value


def _as_integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():  # JSON does not distinguish 3 and 3.0
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not an integer")
    # Both databases store 64 bits.
    if value.bit_length() > _INTEGER_BITS:
        raise ValueError("a number too large to store")
    return value


def _as_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _as_time(value: Any, *, naive: ZoneInfo | None) -> datetime:
    if not isinstance(value, str):
        raise ValueError("not a time")
    return parse_time(value, naive_zone=naive)


def converter(kind: ColumnType, naive_times: str) -> _Convert:
    """The function that converts a value to the type of its column.

    Args:
        naive_times: the zone of times without an offset, or ``failure``.
    """
    zone = None if naive_times == "failure" else ZoneInfo(naive_times)
    converters: Mapping[ColumnType, _Convert] = {
        ColumnType.TEXT: _as_text,
        ColumnType.INTEGER: _as_integer,
        ColumnType.BOOLEAN: _as_boolean,
        ColumnType.TIME: partial(_as_time, naive=zone),
        ColumnType.JSON: _json,
    }
    return converters[kind]


def digest_of(records: Iterable[Record]) -> bytes:
    """A digest of the sorted keys and hashes, independent of the records' order."""
    digest = blake2b(digest_size=HASH_BYTES)
    for record in sorted(records, key=lambda record: record.key):
        key = record.key.encode()
        # The length makes it unambiguous where a key ends and its hash begins.
        digest.update(b"%d:%b%b" % (len(key), key, record.content_hash))
    return digest.digest()
