"""The difference between what the store holds open of one person's area and what PTS answered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from worker.core.model import CompleteArea, Record
from worker.core.value import Value


class StoredVersion(Value, frozen=True, kw_only=True):
    """A version row of one person's area that is open, or that this very run closed.

    Attributes:
        version_id: the row.
        opened_here: this run opened it; no reader has seen it.
        closed_here: this run closed it; for readers it is still open.
    """

    version_id: int
    key: str
    content_hash: bytes
    first_seen_at: datetime
    opened_here: bool = False
    closed_here: bool = False


class Opening(Value, frozen=True, kw_only=True):
    """A version row to write.

    Attributes:
        first_seen_at: when the record's key was first seen in its present row of versions.
        observed_at: when this content was read.
    """

    record: Record
    first_seen_at: datetime
    observed_at: datetime


class AreaChange(Value, frozen=True, kw_only=True):
    """What one transaction does to one person's area.

    Attributes:
        open: rows to insert, opened by this run.
        close: rows that this run closes.
        erase: rows that this run opened and no longer finds; nobody has seen them.
        reopen: rows that this run had closed and finds again, unchanged.
        unchanged: records that cost no write.
        removed: records that were open and are gone, without a new content under the same key.
    """

    open: tuple[Opening, ...] = ()
    close: tuple[int, ...] = ()
    erase: tuple[int, ...] = ()
    reopen: tuple[int, ...] = ()
    unchanged: int = 0
    removed: int = 0


_NO_CHANGE: Final = AreaChange()

ERASED: Final = "erased"
"""What replaces an erased person in the texts of others (``store.privacy.erasing``)."""


def by_content(stored: Sequence[StoredVersion], read: CompleteArea) -> Sequence[StoredVersion]:
    """The stored rows, with the keys that PTS gives where an erasure has masked a key.

    Such a row is known by its content hash, which an erasure leaves: one content has one key.
    """
    if not any(ERASED in row.key for row in stored):
        return stored
    keys = {row.key for row in stored}
    known = {one.content_hash: one.key for one in read.records if one.key not in keys}
    return [
        msgspec.structs.replace(row, key=known.get(row.content_hash, row.key))
        if ERASED in row.key
        else row
        for row in stored
    ]


def diff_area(stored: Sequence[StoredVersion], read: CompleteArea) -> AreaChange:
    """The writes that bring the store to what was read. Applying it twice changes nothing more.

    A record keeps its row while its content is the same; other content closes the row and opens
    another that remembers when the record was first seen; a row whose record is gone is closed.
    Only a ``CompleteArea`` is taken: absence proves nothing unless the last page was read.
    """
    if not stored:
        return _all_new(read)
    live = {row.key: row for row in stored if not row.closed_here}
    shut = {(row.key, row.content_hash): row for row in stored if row.closed_here}
    shut_since = {row.key: row.first_seen_at for row in stored if row.closed_here}
    opened: list[Opening] = []
    gone: list[StoredVersion] = []
    reopened: list[int] = []
    unchanged = removed = 0
    for record in read.records:
        row = live.pop(record.key, None)
        if row is not None and row.content_hash == record.content_hash:
            unchanged += 1
            continue
        first_seen_at = shut_since.get(record.key, read.proof.read_at)
        if row is not None:
            gone.append(row)
            first_seen_at = row.first_seen_at
        before = shut.pop((record.key, record.content_hash), None)
        if before is not None:
            reopened.append(before.version_id)
        else:
            opened.append(
                Opening(record=record, first_seen_at=first_seen_at, observed_at=read.proof.read_at)
            )
    removed = len(live)
    gone.extend(live.values())
    return AreaChange(
        open=tuple(opened),
        close=tuple(row.version_id for row in gone if not row.opened_here),
        erase=tuple(row.version_id for row in gone if row.opened_here),
        reopen=tuple(reopened),
        unchanged=unchanged,
        removed=removed,
    )


def _all_new(read: CompleteArea) -> AreaChange:
    """The difference to nothing, which most of a first run is."""
    if not read.records:
        return _NO_CHANGE
    at = read.proof.read_at
    return AreaChange(
        open=tuple([Opening(record=one, first_seen_at=at, observed_at=at) for one in read.records])
    )
