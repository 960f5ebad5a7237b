"""Shared values: roster entries, persons, records, completeness proofs, failures, run states."""

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from worker.core.identity import NationalId
from worker.core.value import Value
from worker.errors import FailureKind

ColumnValue: TypeAlias = str | int | bool | datetime | None
"""The value of a typed column. Datetimes are aware and in UTC."""


class RosterEntry(Value, frozen=True, kw_only=True):
    """One valid line of the roster.

    Attributes:
        where: file and line, or row number.
        off_id: the identifier, 11 digits.
        local_ref: the organisation's own reference, if any.
        cohort: the person's group for counting, if any: a clinic, a department.
        checksum_ok: false if the check digits are wrong. This is only a warning: synthetic and
            future identifiers fail today's rules (pts reference, section 9).
        is_h_number: the identifier has the pattern of an H-number.
    """

    where: str = ""
    off_id: NationalId
    local_ref: str | None = None
    cohort: str | None = None
    checksum_ok: bool = True
    is_h_number: bool = False


class RosterLineError(Value, frozen=True, kw_only=True):
    """One line of the roster that cannot be read. It counts as a failure. The run continues.

    Attributes:
        where: file and line, or row number.
        problem: the problem, without the line's value.
    """

    where: str
    problem: str


class Person(Value, frozen=True, kw_only=True):
    """A person to read: key in the store, identifier, local reference and cohort."""

    person_key: str
    off_id: NationalId
    local_ref: str | None = None
    cohort: str | None = None


class Record(Value, frozen=True, kw_only=True):
    """One restriction, ready for the store.

    Attributes:
        key: the record's key, ``restriction_id`` in the views.
        content_hash: 16-byte hash of the declared fields that have a value.
        columns: the values of the area's typed columns, in declared order.
        extra: the contract's extra fields, as canonical JSON (sorted keys). None if empty.
    """

    hidden = frozenset({"columns", "extra"})

    key: str
    content_hash: bytes
    columns: tuple[ColumnValue, ...]
    extra: str | None = None


class FirstRead(Value, frozen=True, kw_only=True):
    """The first of two reads that agree: the time of its last page, and its content."""

    read_at: datetime
    record_count: int
    digest: bytes


class Proof(Value, frozen=True, kw_only=True):
    """The completeness proof: evidence that an area was read to its last page.

    Attributes:
        pages: pages read, at least 1.
        record_count: records on all pages.
        digest: 16-byte digest of the sorted keys and hashes of the records.
        read_at: when the last page was read, aware UTC.
        first_read: an earlier complete read that agrees with this one, if any.
    """

    pages: int
    record_count: int
    digest: bytes
    read_at: datetime
    first_read: FirstRead | None = None


class CompleteArea(Value, frozen=True, kw_only=True):
    """An area of one person, read to its last page.

    Only the reader creates it, after the last page, and ``diff_area`` accepts no other type. So a
    partially read area can never close a restriction (promise 1).

    Attributes:
        drift: for each undeclared field, by its path, the number of records that have it.
    """

    area: str
    records: tuple[Record, ...]
    proof: Proof
    drift: Mapping[str, int] = msgspec.field(default_factory=dict)


class AreaFailure(Value, frozen=True, kw_only=True):
    """An area of one person that could not be read. Its stored state is kept, as stale.

    Attributes:
        reason: the error, without any value from the response.
        retry_at: the end of the pause that PTS asked for, if any.
    """

    area: str
    kind: FailureKind
    reason: str
    attempts: int
    failed_at: datetime
    status: int | None = None
    retry_at: datetime | None = None


AreaRead: TypeAlias = CompleteArea | AreaFailure


class PersonRead(Value, frozen=True, kw_only=True):
    """All areas of one person that a pass reads. They are written together or not at all."""

    person: Person
    areas: tuple[AreaRead, ...]


class RunKind(enum.StrEnum):
    """The scope of a run: the complete roster, or a subset. Only a sync has departures."""

    SYNC = "sync"
    BACKFILL = "backfill"


class RunStatus(enum.StrEnum):
    """The states of a run in the ledger."""

    RUNNING = "running"
    """A process is working on it, or has crashed."""
    INTERRUPTED = "interrupted"
    """Stopped, or ended because a service was unavailable. The next run continues it."""
    PUBLISHED = "published"
    """Visible in the views."""
    WITHHELD = "withheld"
    """Undone by the guard. Not visible in current or history."""
    ABANDONED = "abandoned"
    """Undone: too old to continue, or a backfill that had nothing to read."""


OPEN_STATUSES: Final = frozenset({RunStatus.RUNNING, RunStatus.INTERRUPTED})
"""The states in which a run can be continued."""
