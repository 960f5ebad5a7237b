"""Decides which reads need a second one, and whether the two agree (promise 1).

A complete, well-formed response may still be wrong: a proxy that answers twice, a lagging replica,
a body truncated by a wrong length. A closing therefore needs two reads that agree, the second on a
new connection and some time later. So does a restriction that another person has: the answer may
be that person's.
"""

import enum
import hashlib
from collections.abc import Sequence

import msgspec

from worker.core.area import ResourceArea
from worker.core.diff import Change
from worker.core.effect import is_in_effect
from worker.core.model import AreaFailure, AreaRead, CompleteArea, FailureKind, FirstRead
from worker.core.value import Value


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


def ids_digest(area: ResourceArea, read: CompleteArea) -> bytes:
    """16 bytes that tell two sets of ids apart, and which of them are in effect."""
    names = [column.name for column in area.columns]
    ids = hashlib.blake2b(digest_size=16)
    for record in sorted(read.records, key=lambda record: record.key):
        values = dict(zip(names, record.columns, strict=True))
        does = is_in_effect(area.effect, values, read.proof.read_at)
        ids.update(f"{len(record.key)} {record.key} {does:d}".encode())
    return ids.digest()


def compared(
    area: ResourceArea, first: Unconfirmed, second: CompleteArea, confirm: Confirm
) -> AreaRead:
    """The second read with both reads in its proof, or a failure if they contradict each other.

    The reads agree if they hold the same restrictions and the same of these are in effect; with
    ``changes``, if their content is the same, too.
    """
    is_same = first.read.digest == second.proof.digest or confirm == Confirm.REMOVALS
    if is_same and first.ids == ids_digest(area, second):
        proof = msgspec.structs.replace(second.proof, first_read=first.read)
        return msgspec.structs.replace(second, proof=proof)
    return AreaFailure(
        area=second.area,
        kind=FailureKind.UNSTABLE,
        reason="two complete reads contradict each other: "
        f"they held {first.read.record_count} and {len(second.records)} records",
        attempts=1 + second.proof.pages,
        failed_at=second.proof.read_at,
        status=200,
    )
