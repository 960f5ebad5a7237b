"""Compares what is published of one person's area with a complete read, and a read with another.

A complete, well-formed response may still be wrong: a proxy that answers twice, a lagging replica,
a body truncated by a wrong length. A closing therefore needs two reads that agree, the second on a
new connection and some time later (promise 1). So does a restriction that another person has: the
answer may be that person's.
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
    """A published version row of one person's area that is open.

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
    """What publication does with a restriction."""

    INSERT = "insert"
    UPDATE = "update"
    CLOSE = "close"


class Change(Value, frozen=True, kw_only=True):
    """One difference between what is published and what was read.

    Attributes:
        version_id: the version that it ends; None for an insert.
        record: the content from now on; None for a close.
        first_seen_at: when the restriction was first seen in its present series of versions.
        observed_at: when this content was read.
        closes: it takes the restriction out of effect, by closing it or by what it says now.
        loses: a column, or the meaning of its code, is lost.
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
    """The changes that bring what is published to what was read.

    A record keeps its row while its content is the same; other content ends the row and begins
    another that remembers when the record was first seen; a row whose record is gone ends. Only a
    ``CompleteArea`` is taken: absence proves nothing unless the last page was read.
    """
    published = {row.key: row for row in stored}
    read_at = read.proof.read_at
    changes: list[Change] = []
    for record in read.records:
        row = published.pop(record.key, None)
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
    was_active = effect_of(area.effect, before).is_active(read_at)
    loses_meaning = any(
        _is_known(area, column, before[column.name])
        and not _is_known(area, column, now[column.name])
        for column in area.columns
    )
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
    """Whether a value is a code that we know."""
    if column.name == area.effect.code:
        return group_of(area.effect, str(value)) is not None
    return value in column.codes


def _filled(
    area: ResourceArea, values: Mapping[str, ColumnValue], extra: str | None
) -> set[tuple[str, ...]]:
    """The columns and further fields that have a value; of an object, each of its fields."""
    every = {**values, "extra": extra}
    names = [*(column.name for column in area.columns), "extra"]
    return {(name, *path) for name in names for path in _leaves(_opened(every[name]))}


def _opened(value: ColumnValue) -> Any:
    """A list or an object, which a column of text or JSON holds as JSON."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(value)
    return value


def _leaves(value: Any) -> set[tuple[str, ...]]:
    """The paths of what has a value. The items of a list are one: how many there are may change."""
    if isinstance(value, dict):
        return {(name, *path) for name, some in value.items() for path in _leaves(some)}
    if isinstance(value, list):
        return {path for some in value for path in _leaves(some)}
    return set() if value is None or (isinstance(value, str) and not value.strip()) else {()}


class Confirm(enum.StrEnum):
    """What a second read must confirm (``sync.confirm``)."""

    REMOVALS = "removals"
    """A read that would take a restriction out of effect, or give one to a second person."""
    CHANGES = "changes"
    """A read that differs from the published state in any way."""


class Unconfirmed(Value, frozen=True, kw_only=True):
    """A first read that waits for its second.

    Attributes:
        read: what the first read leaves in the proof.
        ids: ``ids_digest`` of it.
    """

    read: FirstRead
    ids: bytes


def needs_second_read(
    changes: Sequence[Change], confirm: Confirm, taken: frozenset[str] = frozenset()
) -> bool:
    """Whether a second read must confirm these changes before they are published.

    Args:
        taken: restrictions that another person has, as published.
    """
    if confirm == Confirm.CHANGES:
        return bool(changes)
    return any(change.closes or change.key in taken for change in changes)


def ids_digest(area: ResourceArea, read: CompleteArea, at: datetime) -> bytes:
    """16 bytes that tell two sets of ids apart, and which of them are in effect at a time."""
    names = [column.name for column in area.columns]
    ids = hashlib.blake2b(digest_size=16)
    for record in sorted(read.records, key=lambda record: record.key):
        values = dict(zip(names, record.columns, strict=True))
        does = effect_of(area.effect, values).is_active(at)
        ids.update(f"{len(record.key)} {record.key} {does:d}".encode())
    return ids.digest()


def compared(
    area: ResourceArea, first: Unconfirmed, second: CompleteArea, confirm: Confirm
) -> CompleteArea:
    """The second read with both reads in its proof.

    The reads agree if they hold the same restrictions and the same of these are in effect; with
    ``changes``, if their content is the same, too.

    Raises:
        UnstableError: they contradict each other.
    """
    is_same = first.read.digest == second.proof.digest or confirm == Confirm.REMOVALS
    # Both effects are of one time: a restriction may end between the reads.
    if is_same and first.ids == ids_digest(area, second, first.read.read_at):
        proof = msgspec.structs.replace(second.proof, first_read=first.read)
        # The first read has counted the undeclared fields.
        return msgspec.structs.replace(second, proof=proof, drift={})
    error = UnstableError(
        "two complete reads contradict each other: "
        f"they held {first.read.record_count} and {len(second.records)} records",
        status=200,
    )
    error.attempts = 1 + second.proof.pages
    raise error
