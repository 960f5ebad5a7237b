"""The values that pass between the parts: a person, a record, the proof of a whole read."""

import enum
from datetime import datetime
from typing import Final, TypeAlias

from worker.core.identity import NationalId
from worker.core.value import Value

ColumnValue: TypeAlias = str | int | bool | datetime | None
"""What a typed column holds. Datetimes are aware and in UTC."""


class RosterEntry(Value, frozen=True, kw_only=True):
    """One readable line of the roster.

    Attributes:
        off_id: the identifier as it stands, a string of 11 digits.
        local_ref: the organisation's own reference, if the roster gives one.
        checksum_ok: false if the control digits do not add up. A warning, never a refusal:
            synthetic and future identifiers fail the rules of today (pts reference, section 9).
        is_h_number: it has the pattern of a number that one organisation has assigned.
    """

    off_id: NationalId
    local_ref: str | None = None
    checksum_ok: bool = True
    is_h_number: bool = False


class RosterLineError(Value, frozen=True, kw_only=True):
    """One line of the roster that cannot be read. It counts as a gap and never stops the run.

    Attributes:
        where: file and line, or row number; never the value.
        problem: what is wrong with it, without the value.
    """

    where: str
    problem: str


class Person(Value, frozen=True, kw_only=True):
    """A person to be read: the key in the store, the identifier, the local reference."""

    person_key: str
    off_id: NationalId
    local_ref: str | None = None


class Record(Value, frozen=True, kw_only=True):
    """One restriction as received, ready for the store.

    Attributes:
        key: the record's key by the area's key path; the ``restriction_id`` of the views.
        content_hash: 16 bytes over ``payload``.
        payload: canonical JSON (sorted keys) of everything received, unknown fields too; in
            pseudonym mode without the person's identifier.
        columns: the values of the area's typed columns, in their declared order.
    """

    hidden = frozenset({"payload", "columns"})

    key: str
    content_hash: bytes
    payload: str
    columns: tuple[ColumnValue, ...]


class FirstRead(Value, frozen=True, kw_only=True):
    """The read that a second one confirmed: when its last page was read, and what it held."""

    read_at: datetime
    record_count: int
    digest: bytes


class Proof(Value, frozen=True, kw_only=True):
    """The receipt of an area read to its last page: what a removal rests on.

    Attributes:
        pages: pages read, at least 1.
        record_count: records on all pages.
        digest: 16 bytes over the sorted keys and hashes of the records.
        read_at: when the last page was read, aware UTC.
        key_path: the record key path that served, e.g. ``id``; empty if there was no record.
        first_read: the complete read before this one that agrees with it, if there was one.
    """

    pages: int
    record_count: int
    digest: bytes
    read_at: datetime
    key_path: str
    first_read: FirstRead | None = None


class Drift(Value, frozen=True, kw_only=True):
    """Something in PTS's answers that the area's declaration does not know.

    Attributes:
        field: a path without values, e.g. ``[].newField``.
        kind: ``unknown_field``, ``digest_key``, ``naive_time``, ``duplicate`` …
    """

    field: str
    kind: str


class CompleteArea(Value, frozen=True, kw_only=True):
    """An area of one person, read to its last page.

    Only the reader that saw the last page makes one, and the difference takes nothing else: a
    half-read area can never close a restriction (promise 1).

    Attributes:
        drift: what the declaration does not know, up to a limit; ``drift_left_out`` is the rest.
    """

    area: str
    records: tuple[Record, ...]
    proof: Proof
    drift: frozenset[Drift] = frozenset()
    drift_left_out: int = 0


class FailureKind(enum.StrEnum):
    """Why an area could not be read."""

    TRANSIENT = "transient"
    """Time-outs, lost connections, 429 and 5xx after all retries."""
    REJECTED = "rejected"
    """PTS answered a status that says no to this request."""
    REFUSED = "refused"
    """PTS denies this client (401 or 403), with a fresh token and proof."""
    CONTRACT = "contract"
    """The answer is not recognisably a list of this person's restrictions."""
    PAGING = "paging"
    """The answer cannot be read to its end."""
    UNSTABLE = "unstable"
    """Two complete reads contradict each other."""


class AreaFailure(Value, frozen=True, kw_only=True):
    """An area of one person that could not be read; what the store holds of it stands, stale.

    Attributes:
        reason: what happened, without any value from the answer.
        attempts: HTTP attempts made.
    """

    area: str
    kind: FailureKind
    reason: str
    attempts: int
    failed_at: datetime
    status: int | None = None


AreaRead: TypeAlias = CompleteArea | AreaFailure


class PersonRead(Value, frozen=True, kw_only=True):
    """All areas of one person that a run set out to read: the unit of atomicity."""

    person: Person
    areas: tuple[AreaRead, ...]


class RunKind(enum.StrEnum):
    """What a run covers: the whole roster (it may depart persons) or a subset (it never does)."""

    SYNC = "sync"
    BACKFILL = "backfill"


class RunStatus(enum.StrEnum):
    """Every state of a run in the ledger."""

    RUNNING = "running"
    """A process works on it, or died on it."""
    INTERRUPTED = "interrupted"
    """Stopped, or ended by an unavailable service; the next run continues it."""
    PUBLISHED = "published"
    """What it read is what the views show."""
    WITHHELD = "withheld"
    """A guard held it back; it left no trace in current or history."""
    ABANDONED = "abandoned"
    """Too old to be continued; undone."""


OPEN_STATUSES: Final = frozenset({RunStatus.RUNNING, RunStatus.INTERRUPTED})
"""A run in one of these may still be continued."""
