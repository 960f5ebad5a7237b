"""Turns the items of a response into ``Record`` values, or refuses them.

For speed, work that depends only on the area is done once, and work that depends on an item's field
names once per set of names.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from worker.core import exact_json
from worker.core.area import DIGEST_KEY, ResourceArea
from worker.core.budgets import DriftBudget
from worker.core.columns import ColumnReader
from worker.core.exact_json import LargeInteger
from worker.core.fields import (
    Absent,
    FieldPath,
    Place,
    find,
    parse_path,
    places_of,
    safe_name,
    spelling,
)
from worker.core.model import Drift, Person, Record
from worker.core.privacy import Cleaner
from worker.core.remembered import RememberedNames
from worker.core.value import Value
from worker.errors import ContractError

HASH_BYTES: Final = 16
"""Length of a content hash and of a digest key."""

KEY_BYTES_MAX: Final = 1_000
"""Maximum length of a record key: PostgreSQL limits index rows to 2,704 bytes."""

_OFF_ID_DIGITS: Final = 11
_NOBODY: Final = (Absent, dict)
"""Values at a person path that do not name a person."""


_Key: TypeAlias = tuple[FieldPath, ...]


class _Plan(Value, frozen=True, kw_only=True):
    """Properties of an item's field names.

    Attributes:
        persons: where it may name a person.
    """

    recognised: bool
    drift: frozenset[Drift]
    persons: tuple[Place, ...]


class Page(Value, frozen=True, kw_only=True):
    """One page of an area.

    Attributes:
        records: the page's records, without exact duplicates.
        item_count: the number of items on the page, including duplicates.
        key_path: the key path used; empty if there was no record.
        envelope: the fields around the list, for paging; may hold personal values.
        headers: the response headers.
        drift: fields and values unknown to the declaration, up to a limit; ``drift_left_out``
            counts the rest.
    """

    hidden = frozenset({"envelope", "headers"})

    records: tuple[Record, ...]
    item_count: int
    key_path: str
    envelope: Mapping[str, Any] = msgspec.field(default_factory=dict)
    headers: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    drift: frozenset[Drift] = frozenset()
    drift_left_out: int = 0


@lru_cache(maxsize=64)
def reader_of(area: ResourceArea) -> "RecordReader":
    """The reader of an area; cached."""
    return RecordReader(area)


class RecordReader:
    """Reads items of one area."""

    def __init__(self, area: ResourceArea) -> None:
        self._columns = ColumnReader(area.columns)
        self._person_paths = area.person_paths
        self._recognised_by = frozenset(map(_first_name, area.recognised_by))
        self._volatile = tuple(map(parse_path, area.volatile))
        self._key_paths = area.record_keys
        self._known = _first_names(area)
        self._plans = RememberedNames(self._plan_of)

    def recognises(self, item: Any) -> bool:
        """Whether an item has at least one field that a record of this area has."""
        return isinstance(item, dict) and self._plans[tuple(item)].recognised

    def check_person(self, document: Mapping[str, Any], off_id: str, where: str) -> None:
        """Check that a document names only this person.

        Raises:
            ContractError: it names another person, or in a form that cannot be compared.
        """
        for name, rest, text in self._plans[tuple(document)].persons:
            value = find(document[name], rest)
            if value is not None and not isinstance(value, _NOBODY):
                _check_person(value, off_id, f"{where}.{text}")

    def read(
        self,
        items: list[Any],
        *,
        person: Person,
        key_path: str | None,
        cleaner: Cleaner | None,
        where: str = "",
    ) -> Page:
        """The records of a page's items; nothing of what is around them.

        Args:
            key_path: the key path that the area has used before, if any.
            cleaner: removes what must not be stored, before keys and columns are read; None keeps
                everything.
            where: the path of the array, for messages.

        Raises:
            ContractError: an item is not a record of this person and area.
        """
        if not items:
            return Page(records=(), item_count=0, key_path=key_path or "")
        off_id = person.off_id.reveal()
        budget = DriftBudget()
        documents: list[tuple[dict[str, Any], bytes]] = []
        for index, item in enumerate(items):
            budget.add(self._check(item, off_id, f"{where}[{index}]"))
            document = item if cleaner is None else cleaner.record(item)
            documents.append((document, exact_json.canonical(document)))
        key_path, keys = self._keys(documents, person.person_key, key_path, where)
        drift = budget.kept
        if key_path == DIGEST_KEY:
            drift.add(Drift(field="[]", kind="digest_key"))
        records = self._records(documents, keys, where, drift)
        return Page(
            records=records,
            item_count=len(items),
            key_path=key_path,
            drift=frozenset(drift),
            drift_left_out=budget.left_out,
        )

    def _records(
        self,
        documents: list[tuple[dict[str, Any], bytes]],
        keys: list[str],
        where: str,
        drift: set[Drift],
    ) -> tuple[Record, ...]:
        """A record for each key; exact duplicates count as drift."""
        records: dict[str, Record] = {}
        for index, ((document, payload), key) in enumerate(zip(documents, keys, strict=True)):
            place = f"{where}[{index}]"
            content_hash = self._hash(payload)
            earlier = records.get(key)
            if earlier is None:
                columns = self._columns.read(document, place, drift)
                records[key] = Record(
                    key=key, content_hash=content_hash, payload=payload.decode(), columns=columns
                )
            elif earlier.content_hash == content_hash:
                drift.add(Drift(field="[]", kind="duplicate"))
            else:
                raise ContractError("two records have the same key", field=place)
        return tuple(records.values())

    def _check(self, item: Any, off_id: str, place: str) -> frozenset[Drift]:
        """Check that an item is a record of this person; return its drift."""
        if not isinstance(item, dict):
            raise ContractError("not an object", field=place)
        plan = self._plans[tuple(item)]
        if not plan.recognised:
            raise ContractError("not a record of this area: no known field", field=place)
        self.check_person(item, off_id, place)
        return plan.drift

    def _plan_of(self, names: tuple[str, ...]) -> _Plan:
        spelled = spelling(names)
        return _Plan(
            recognised=not self._recognised_by.isdisjoint(spelled),
            drift=frozenset(
                Drift(field=f"[].{safe_name(name)}", kind="unknown_field")
                for lower, name in spelled.items()
                if lower not in self._known
            ),
            persons=places_of(self._person_paths, names),
        )

    def _keys(
        self,
        documents: list[tuple[dict[str, Any], bytes]],
        person_key: str,
        key_path: str | None,
        where: str,
    ) -> tuple[str, list[str]]:
        """The first key path that all documents have, and the key of each document."""
        lacking = 0
        for candidate in (key_path,) if key_path else self._key_paths:
            keys: list[str] = []
            parts = _parsed_key(candidate)
            for index, (document, payload) in enumerate(documents):
                key = _key(document, parts) if parts else self._digest_key(payload, person_key)
                if key is None:
                    lacking = index
                    break
                if len(key.encode()) > KEY_BYTES_MAX:
                    raise ContractError(
                        f"a record key of more than {KEY_BYTES_MAX} bytes",
                        field=f"{where}[{index}]",
                    )
                keys.append(key)
            else:
                return candidate, keys
        wanted = key_path or "any of the declared keys"
        raise ContractError(f"no record key ({wanted})", field=f"{where}[{lacking}]")

    def _digest_key(self, payload: bytes, person_key: str) -> str:
        digest = blake2b(self._lasting(payload), digest_size=HASH_BYTES)
        digest.update(b"\0" + person_key.encode())
        return digest.hexdigest()

    def _hash(self, payload: bytes) -> bytes:
        return blake2b(self._lasting(payload), digest_size=HASH_BYTES).digest()

    def _lasting(self, payload: bytes) -> bytes:
        """The canonical payload without its volatile fields."""
        if not self._volatile:
            return payload
        lasting = exact_json.loads(payload)
        for path in self._volatile:
            parent = find(lasting, path[:-1])
            name = spelling(tuple(parent)).get(str(path[-1])) if isinstance(parent, dict) else None
            if name is not None:
                del parent[name]
        return exact_json.canonical(lasting)


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


@lru_cache(maxsize=256)
def _parsed_key(key_path: str) -> _Key:
    """The parts of a key path; empty for the digest."""
    if key_path == DIGEST_KEY:
        return ()
    return tuple(parse_path(part) for part in key_path.split("+"))


def _first_names(area: ResourceArea) -> frozenset[str]:
    """The top-level fields, in lower case, that the declaration mentions."""
    keys = [part for key in area.record_keys if key != DIGEST_KEY for part in key.split("+")]
    columns = [path for column in area.columns for path in column.paths]
    declared = (area.person_paths, area.recognised_by, area.known_fields, area.volatile)
    paths = [*keys, *columns, *(path for group in declared for path in group)]
    return frozenset(map(_first_name, paths))


def _first_name(path: str) -> str:
    return str(parse_path(path)[0])


def _check_person(value: Any, off_id: str, where: str) -> None:
    match value:
        case str():
            same = value.strip() == off_id
        case int() if not isinstance(value, bool):
            same = str(value).zfill(_OFF_ID_DIGITS) == off_id
        case _:
            raise ContractError("not an identifier of a person", field=where)
    if not same:
        raise ContractError("not the requested person", field=where)


def _key(document: dict[str, Any], parts: _Key) -> str | None:
    """A record's key, with its parts joined by ``|``; None if a part is missing."""
    values: list[str] = []
    for path in parts:
        value = find(document, path)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        elif isinstance(value, LargeInteger):
            value = value.digits
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            return None
        values.append(value)
    if len(values) == 1:
        return values[0]
    return "|".join(value.replace("\\", r"\\").replace("|", r"\|") for value in values)
