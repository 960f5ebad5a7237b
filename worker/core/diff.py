"""Compares the published state of one person's area with a complete read, and two reads.

A complete, well-formed response may still be wrong: a proxy repeats an old response, a replica
lags, a wrong length truncates a body. So closing a restriction needs two reads that agree, the
second on a new connection and some time later (promise 1). A restriction that is published under
another person needs two reads as well, because the response may be about that person.
"""

import contextlib
import enum
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from worker.core.area import Column, ResourceArea
from worker.core.effect import effect_of, group_of
from worker.core.model import ColumnValue, CompleteArea, FirstRead, Record
from worker.core.value import Value
from worker.errors import UnstableError


class StoredVersion(Value, frozen=True, kw_only=True):
    """A published, open version of one person's area.

    Attributes:
        columns: the values of the area's typed columns, in declared order.
    """

    hidden = frozenset({"columns", "extra"})

    version_id: int
    key: str
    content_hash: bytes
    first_seen_at: datetime
    columns: tuple[ColumnValue, ...]
    extra: str | None = None


class Op(enum.StrEnum):
    """The change that publication makes to a restriction."""

    INSERT = "insert"
    UPDATE = "update"
    CLOSE = "close"


class Change(Value, frozen=True, kw_only=True):
    """One difference between the published state and a read.

    Attributes:
        version_id: the version that the change ends. None for an insert.
        record: the new content. None for a close.
        first_seen_at: when the restriction was first seen in its current series of versions.
        observed_at: when this content was read. With two reads, the time of the second.
        closes: the change closes the restriction or takes it out of effect.
        loses: a column becomes empty, or its known code becomes an unknown one.
    """

    op: Op
    key: str
    version_id: int | None = None
    record: Record | None = None
    first_seen_at: datetime | None = None
    observed_at: datetime | None = None
    closes: bool = False
    loses: bool = False


def diff_area(
    area: ResourceArea, stored: Sequence[StoredVersion], read: CompleteArea
) -> tuple[Change, ...]:
    """The changes that turn the published state into the state that was read.

    A version stays while its record's content is equal. An update ends the version and starts a new
    one with the same ``first_seen_at``. A record that is gone closes its version. The read must be
    a ``CompleteArea``: before the last page is read, a missing record is no evidence.
    """
    published = {row.key: row for row in stored}
    read_at = read.proof.read_at
    changes: list[Change] = []
    for record in read.records:
        row = published.pop(record.key, None)  # the remaining rows are gone from PTS
        if row is None:
            changes.append(
                Change(
                    op=Op.INSERT,
                    key=record.key,
                    record=record,
                    first_seen_at=read_at,
                    observed_at=read_at,
                )
            )
        elif row.content_hash != record.content_hash:
            changes.append(_update(area, row, record, read_at))
    changes += [
        Change(op=Op.CLOSE, key=row.key, version_id=row.version_id, closes=True)
        for row in published.values()
    ]
    return tuple(changes)


def _update(area: ResourceArea, row: StoredVersion, record: Record, read_at: datetime) -> Change:
    names = [column.name for column in area.columns]
    before = dict(zip(names, row.columns, strict=True))
    now = dict(zip(names, record.columns, strict=True))
    # Both effects at the time of the read: a restriction that expired by itself is not closed.
    was_active = effect_of(area.effect, before).is_active(read_at)
    loses_meaning = any(
        _is_known(area, column, before[column.name])
        and not _is_known(area, column, now[column.name])
        for column in area.columns
    )
    # If many restrictions lose the same field, PTS or the contract is more likely to be wrong.
    lost = _filled(area, before, row.extra) - _filled(area, now, record.extra)
    return Change(
        op=Op.UPDATE,
        key=record.key,
        version_id=row.version_id,
        record=record,
        first_seen_at=row.first_seen_at,
        observed_at=read_at,
        closes=was_active and not effect_of(area.effect, now).is_active(read_at),
        loses=loses_meaning or bool(lost),
    )


def _is_known(area: ResourceArea, column: Column, value: ColumnValue) -> bool:
    """Whether a value is a known code of its column."""
    if column.name == area.effect.code:
        return group_of(area.effect, str(value)) is not None
    return value in column.codes


def _filled(
    area: ResourceArea, values: Mapping[str, ColumnValue], extra: str | None
) -> set[tuple[str, ...]]:
    """The paths of all columns and extras that have a value. Objects count by their fields."""
    all_values = {**values, "extra": extra}
    names = [*(column.name for column in area.columns), "extra"]
    return {(name, *path) for name in names for path in _leaves(_parsed(all_values[name]))}


def _parsed(value: ColumnValue) -> Any:
    """The value, or the list or object that its JSON text encodes."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(value)
    return value


def _leaves(value: Any) -> set[tuple[str, ...]]:
    """The paths of all leaves with a value.

    The elements of a list share one path, so a shorter list does not count as a lost value.
    """
    if isinstance(value, dict):
        return {(name, *path) for name, field in value.items() for path in _leaves(field)}
    if isinstance(value, list):
        return {path for element in value for path in _leaves(element)}
    return set() if value is None or (isinstance(value, str) and not value.strip()) else {()}


class Confirm(enum.StrEnum):
    """The reads that a second read must confirm (``sync.confirm``)."""

    REMOVALS = "removals"
    """A read that would take a restriction out of effect, or add one that another person has."""
    CHANGES = "changes"
    """A read that differs from the published state in any way."""


class Unconfirmed(Value, frozen=True, kw_only=True):
    """A first read that a second read must confirm.

    Attributes:
        read: time and content, which become a part of the second read's proof.
        ids: its ``ids_digest``.
    """

    read: FirstRead
    ids: bytes


def needs_second_read(
    changes: Sequence[Change], confirm: Confirm, taken: frozenset[str] = frozenset()
) -> bool:
    """Whether a second read must confirm these changes before they are published.

    Args:
        taken: keys of restrictions that are published under another person.
    """
    if confirm == Confirm.CHANGES:
        return bool(changes)
    return any(change.closes or change.key in taken for change in changes)


def ids_digest(area: ResourceArea, read: CompleteArea, at: datetime) -> bytes:
    """A 16-byte digest of the records' ids, and of whether each is in effect at a time."""
    names = [column.name for column in area.columns]
    ids = hashlib.blake2b(digest_size=16)
    # Sorted, because PTS may list the same records in another order.
    for record in sorted(read.records, key=lambda record: record.key):
        values = dict(zip(names, record.columns, strict=True))
        is_active = effect_of(area.effect, values).is_active(at)
        ids.update(f"{len(record.key)} {record.key} {is_active:d}".encode())
    return ids.digest()


def confirmed(
    area: ResourceArea, first: Unconfirmed, second: CompleteArea, confirm: Confirm
) -> CompleteArea:
    """The second read with both reads in its proof.

    The reads agree if both have the same set of ids, and the same restrictions are in effect. With
    ``changes`` their content must be equal, too.

    Raises:
        UnstableError: they contradict each other.
    """
    # Both digests use the time of the first read: a restriction may end between the reads.
    are_ids_equal = first.ids == ids_digest(area, second, first.read.read_at)
    is_content_equal = first.read.digest == second.proof.digest
    if are_ids_equal and (is_content_equal or confirm == Confirm.REMOVALS):
        proof = msgspec.structs.replace(second.proof, first_read=first.read)
        # Undeclared fields were counted with the first read.
        return msgspec.structs.replace(second, proof=proof, drift={})
    error = UnstableError(
        "two complete reads contradict each other: "
        f"they have {first.read.record_count} and {len(second.records)} records",
        status=200,
    )
    # A lower bound: a complete read has the number of its pages, not of its retries.
    error.attempts = second.proof.pages
    raise error
