"""A removal needs two reads: which reads need a second one, and whether both agree (promise 1).

A complete, well-formed answer may still be somebody else's: a proxy that answers twice, a lagging
replica, a body cut by a wrong length. Absence is believed when two reads show it, the second on a
connection that carried nothing before it.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import TypeAlias

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

Removed: TypeAlias = frozenset[tuple[str, str]]
"""Restrictions of one person, each as its area and key."""


class Confirm(enum.StrEnum):
    """What counts only after a second read (``sync.confirm``)."""

    REMOVALS = "removals"
    """A read that lacks a published restriction."""
    CHANGES = "changes"
    """A read that differs from the published state in any way."""


class Unconfirmed(Value, frozen=True, kw_only=True):
    """A person who is not written before some areas have been read a second time.

    Attributes:
        read: all areas, as they were read first.
        published: by area to be read again, the keys of the published restrictions.
        confirm: what the two reads must agree on.
    """

    read: PersonRead
    published: Mapping[str, frozenset[str]]
    confirm: Confirm = Confirm.REMOVALS


def published_rows(stored: Sequence[StoredVersion]) -> Mapping[str, bytes]:
    """What readers see of one person's area: content hash by key, whatever this run has written."""
    return {row.key: row.content_hash for row in stored if not row.opened_here}


def needs_second_read(published: Mapping[str, bytes], read: CompleteArea, confirm: Confirm) -> bool:
    """Whether this read must not be written before a second one agrees with it."""
    if read.proof.first_read is not None:
        return False
    if confirm == Confirm.REMOVALS:
        return bool(_removed(frozenset(published), read))
    return published != {record.key: record.content_hash for record in read.records}


def compared(
    published: frozenset[str], first: CompleteArea, second: CompleteArea, confirm: Confirm
) -> AreaRead:
    """The second read with both in its proof, or a failure if the two contradict each other.

    They agree if they lack the same published restrictions; with ``changes``, if they hold the same
    records with the same content.
    """
    gone, gone_again = _removed(published, first), _removed(published, second)
    is_same = first.proof.digest == second.proof.digest
    if gone == gone_again and (is_same or confirm == Confirm.REMOVALS):
        proof = first.proof
        both = msgspec.structs.replace(
            second.proof,
            first_read=FirstRead(
                read_at=proof.read_at, record_count=proof.record_count, digest=proof.digest
            ),
        )
        return msgspec.structs.replace(second, proof=both, drift=first.drift | second.drift)
    return AreaFailure(
        area=second.area,
        kind=FailureKind.UNSTABLE,
        reason=f"two complete reads contradict each other: of {len(published)} published "
        f"restrictions the first lacked {len(gone)}, the second {len(gone_again)}; "
        f"they held {len(first.records)} and {len(second.records)} records",
        attempts=first.proof.pages + second.proof.pages,
        failed_at=second.proof.read_at,
        status=200,
    )


def removed_by(found: Unconfirmed, read: PersonRead) -> Removed:
    """The published restrictions that the complete reads among those to confirm lack."""
    return frozenset(
        (area.area, key)
        for area in read.areas
        if isinstance(area, CompleteArea) and area.area in found.published
        for key in _removed(found.published[area.area], area)
    )


def _removed(published: frozenset[str], read: CompleteArea) -> frozenset[str]:
    return published - {record.key for record in read.records} if published else published
