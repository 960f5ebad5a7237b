"""Compares the stored versions of one person's area with a complete read."""

from collections.abc import Sequence
from datetime import datetime

from worker.core.model import CompleteArea, Record
from worker.core.value import Value


class StoredVersion(Value, frozen=True, kw_only=True):
    """A version row of one person's area that is open, or that this run closed.

    Attributes:
        opened_here: this run opened it; readers cannot see it yet.
        closed_here: this run closed it; readers still see it as open.
    """

    version_id: int
    key: str
    content_hash: bytes
    first_seen_at: datetime
    opened_here: bool = False
    closed_here: bool = False


class Opening(Value, frozen=True, kw_only=True):
    """A version row to insert.

    Attributes:
        first_seen_at: when the record's key was first seen in its current series of versions.
        observed_at: when this content was read.
    """

    record: Record
    first_seen_at: datetime
    observed_at: datetime


class AreaChange(Value, frozen=True, kw_only=True):
    """The changes that one transaction makes to one person's area.

    Attributes:
        open: rows to insert.
        close: ids of rows to close.
        erase: ids of rows to delete: this run opened them, and no reader has seen them.
        reopen: ids of rows to reopen: this run closed them, and the same content is back.
        unchanged: number of records that need no write.
        removed: number of open records whose key is gone.
    """

    open: tuple[Opening, ...] = ()
    close: tuple[int, ...] = ()
    erase: tuple[int, ...] = ()
    reopen: tuple[int, ...] = ()
    unchanged: int = 0
    removed: int = 0


def diff_area(stored: Sequence[StoredVersion], read: CompleteArea) -> AreaChange:
    """The writes that bring the store to what was read. Applying it twice changes nothing more.

    A record keeps its row while its content is the same; other content closes the row and opens
    another that remembers when the record was first seen; a row whose record is gone is closed.
    Only a ``CompleteArea`` is taken: absence proves nothing unless the last page was read.
    """
    live = {row.key: row for row in stored if not row.closed_here}
    closed = {(row.key, row.content_hash): row for row in stored if row.closed_here}
    closed_since = {row.key: row.first_seen_at for row in stored if row.closed_here}
    opened: list[Opening] = []
    gone: list[StoredVersion] = []
    reopened: list[int] = []
    unchanged = removed = 0
    for record in read.records:
        row = live.pop(record.key, None)
        if row is not None and row.content_hash == record.content_hash:
            unchanged += 1
            continue
        first_seen_at = closed_since.get(record.key, read.proof.read_at)
        if row is not None:
            gone.append(row)
            first_seen_at = row.first_seen_at
        before = closed.pop((record.key, record.content_hash), None)
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
