"""Decides which reads need a second one, and whether the two agree (promise 1).

A complete, well-formed response may still be wrong: a proxy that answers twice, a lagging replica,
a body truncated by a wrong length. A removal therefore needs two reads that agree, the second on a
new connection. So does a restriction that another person has: the answer may be that person's.
"""

import enum
from collections.abc import Mapping, Sequence

import msgspec

from worker.core.diff import StoredVersion
from worker.core.model import (
    AreaFailure,
    AreaRead,
    CompleteArea,
    FailureKind,
    FirstRead,
    PersonRead,
)
from worker.core.value import Value


class Confirm(enum.StrEnum):
    """What a second read must confirm (``sync.confirm``)."""

    REMOVALS = "removals"
    """A read that lacks a published restriction, or holds one of another person."""
    CHANGES = "changes"
    """A read that differs from the published state in any way."""


class Unconfirmed(Value, frozen=True, kw_only=True):
    """A person who is not written until some areas are read a second time.

    Attributes:
        read: the first read of all areas.
        published: by area to read again, keys of the person's published restrictions.
        confirm: what the two reads must agree on.
    """

    read: PersonRead
    published: Mapping[str, frozenset[str]]
    confirm: Confirm = Confirm.REMOVALS


def published_rows(stored: Sequence[StoredVersion]) -> Mapping[str, bytes]:
    """The published state of one person's area, without this run's changes: content hash by key."""
    return {row.key: row.content_hash for row in stored if not row.opened_here}


def needs_second_read(
    published: Mapping[str, bytes],
    read: CompleteArea,
    confirm: Confirm,
    taken: frozenset[str] = frozenset(),
) -> bool:
    """Whether a second read must confirm this one before it is written.

    Args:
        confirm: what needs two reads.
        taken: restrictions of the read that another person has, as published.
    """
    if read.proof.first_read is not None:
        return False
    if confirm == Confirm.REMOVALS:
        return bool(taken or _removed(frozenset(published), read))
    return published != {record.key: record.content_hash for record in read.records}


def compared(
    published: frozenset[str],
    first: CompleteArea,
    second: CompleteArea,
    confirm: Confirm,
) -> AreaRead:
    """The second read with both reads in its proof, or a failure if they contradict each other.

    The reads agree if they hold the same restrictions; with ``changes``, also with the same
    content.
    """
    gone, gone_again = _removed(published, first), _removed(published, second)
    # Not just the published ones: what only the second read holds may be another person's.
    has_same_keys = _keys(first) == _keys(second)
    is_same = first.proof.digest == second.proof.digest
    if has_same_keys and (is_same or confirm == Confirm.REMOVALS):
        proof = first.proof
        both = msgspec.structs.replace(
            second.proof,
            first_read=FirstRead(
                read_at=proof.read_at, record_count=proof.record_count, digest=proof.digest
            ),
        )
        return msgspec.structs.replace(second, proof=both)
    return _contradiction(
        first,
        second,
        f"two complete reads contradict each other: of {len(published)} published "
        f"restrictions the first lacked {len(gone)}, the second {len(gone_again)}; "
        f"they held {len(first.records)} and {len(second.records)} records",
    )


def _contradiction(first: CompleteArea, second: CompleteArea, reason: str) -> AreaFailure:
    return AreaFailure(
        area=second.area,
        kind=FailureKind.UNSTABLE,
        reason=reason,
        attempts=first.proof.pages + second.proof.pages,
        failed_at=second.proof.read_at,
        status=200,
    )


def removed_by(unconfirmed: Unconfirmed, read: PersonRead) -> frozenset[tuple[str, str]]:
    """The published restrictions that the complete reads of the areas to confirm lack.

    Each is its area and key.
    """
    return frozenset(
        (area.area, key)
        for area in read.areas
        if isinstance(area, CompleteArea) and area.area in unconfirmed.published
        for key in _removed(unconfirmed.published[area.area], area)
    )


def _removed(published: frozenset[str], read: CompleteArea) -> frozenset[str]:
    return published - _keys(read) if published else published


def _keys(read: CompleteArea) -> frozenset[str]:
    return frozenset(record.key for record in read.records)
