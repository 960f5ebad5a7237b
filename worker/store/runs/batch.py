"""Writes a batch: one transaction for many persons, each compared with what is published.

A digest shows for most areas that nothing differs. For the others the open versions are read, and
the differences become drafts of changes. A read that would close something becomes only a draft of
the read itself: ``unconfirmed``, until the second read. Batches are idempotent: writing one again,
after a commit whose acknowledgement was lost, changes nothing. New persons get an id.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS, ColumnType, ResourceArea, area_named
from worker.core.diff import (
    Change,
    Confirm,
    Op,
    StoredVersion,
    Unconfirmed,
    diff_area,
    ids_digest,
    needs_second_read,
)
from worker.core.effect import instant_sql
from worker.core.model import (
    AreaFailure,
    AreaRead,
    CompleteArea,
    FirstRead,
    Person,
    PersonRead,
    RunKind,
)
from worker.core.record import LEDGER_DRIFT_MAX
from worker.core.run import AreaDraft, PersonDraft, RunHandle
from worker.core.value import Value
from worker.errors import FailureKind
from worker.store import statements
from worker.store.filling import filled
from worker.store.runs.bulk import IDS, KEYS, InputRows, Row
from worker.store.schema.tables import (
    CHANGES,
    COMPLETE,
    FAILED,
    FAILURE,
    PROOF,
    UNCONFIRMED,
    draft,
    run,
)
from worker.views import as_utc

_DRAFTS: Final = InputRows.of(draft, but={"run_id", "attempt", "compared_no"})
_OF_AREA: Final = 7
"""The columns of an area in ``FIND_PERSONS``."""
_NOT_READ: Final = (None,) * len(("state", "read_at", *PROOF, *FAILURE))
"""The columns of an area that was not read."""
_CHANGES: Final = {name: InputRows.of(table, but={"run_id"}) for name, table in CHANGES.items()}
_RESTRICTIONS: Final = InputRows((("person_id", "bigint"), ("restriction_id", "text")))
_FIELDS: Final = InputRows((("area", "text"), ("field", "text"), ("records", "bigint")))


class Known(Value, frozen=True, kw_only=True):
    """A person, as published and as the run has read them.

    Attributes:
        is_new: no publication knows them.
        local_ref, cohort: as published.
        digests: by area, the digest of what is open, if it is known.
        draft: what this run has read.
    """

    person_id: int
    is_new: bool = False
    local_ref: str | None = None
    cohort: str | None = None
    digests: Mapping[str, str | None] = {}
    draft: PersonDraft | None = None


async def find_persons(
    connection: AsyncConnection, person_keys: Sequence[str], *, run_id: int, is_read: bool = False
) -> dict[str, Known]:
    """Those of them whom a publication or this run knows, by their key.

    Args:
        is_read: only those whom this run has read.
    """
    keys = [(key,) for key in dict.fromkeys(person_keys)]
    join = "INNER" if is_read else "LEFT"
    find = filled(statements.FIND_PERSONS, run=run_id, join=join)
    rows = await KEYS.execute(connection, find, keys)
    return {person_key: _known(*columns) for person_key, *columns in rows}


async def write_batch(
    connection: AsyncConnection,
    reads: Sequence[PersonRead],
    *,
    handle: RunHandle,
    pass_no: int,
    confirm: Confirm,
    now: datetime,
) -> frozenset[str]:
    """Write a batch of a run in the caller's transaction.

    Args:
        pass_no: of ``RunHandle.pass_no``.
        confirm: which differences need a second read that agrees.

    Returns:
        The keys of persons with an area that waits for a second read.
    """
    run_id = handle.run_id
    known = await _identify(connection, [read.person.person_key for read in reads], run_id=run_id)
    batch = _Batch(
        connection=connection,
        handle=handle,
        pass_no=pass_no,
        confirm=confirm,
        persons=[(known[read.person.person_key], read) for read in reads],
    )
    waiting = {name: await batch.write_changes(area_named(name)) for name in handle.areas}
    await batch.write_drafts(waiting)
    if any(isinstance(area, CompleteArea) for read in reads for area in read.areas):
        # A failure is no progress: a run that only fails is abandoned in the end.
        await connection.execute(
            update(run).where(run.c.run_id == run_id).values(progressed_at=now)
        )
    await _add_drift(connection, reads, run_id=run_id, now=now)
    waits = frozenset[int]().union(*waiting.values())
    return frozenset(key for key, person in known.items() if person.person_id in waits)


async def _identify(
    connection: AsyncConnection, person_keys: Sequence[str], *, run_id: int
) -> Mapping[str, Known]:
    """The persons by their key; those whom nobody knows get an id."""
    found = await find_persons(connection, person_keys, run_id=run_id)
    unknown = [key for key in dict.fromkeys(person_keys) if key not in found]
    if unknown:
        taken = await connection.exec_driver_sql(filled(statements.TAKE_IDS, count=len(unknown)))
        first = taken.scalar_one() - len(unknown) + 1
        for person_id, key in enumerate(unknown, first):
            found[key] = Known(person_id=person_id, is_new=True)
    return found


def _known(
    person_id: int,
    is_new: bool,  # noqa: FBT001 - a column
    local_ref: str | None,
    cohort: str | None,
    pass_no: int | None,
    *of_areas: Any,
) -> Known:
    """A person from the columns of ``FIND_PERSONS`` after the key."""
    digests, drafts = {}, {}
    for place, area in enumerate(AREAS):
        columns = of_areas[place * _OF_AREA : (place + 1) * _OF_AREA]
        digests[area.name], state, *draft = columns
        if state is not None:
            drafts[area.name] = _area_draft(state, *draft)
    return Known(
        person_id=person_id,
        is_new=bool(is_new),
        local_ref=local_ref,
        cohort=cohort,
        digests=digests,
        draft=None if pass_no is None else PersonDraft(pass_no=pass_no, areas=drafts),
    )


def _area_draft(state: str, *columns: Any) -> AreaDraft:
    read_at, record_count, digest, ids, failure = columns
    first = None
    if state == UNCONFIRMED:
        read = FirstRead(
            read_at=as_utc(read_at), record_count=record_count, digest=bytes.fromhex(digest)
        )
        first = Unconfirmed(read=read, ids=bytes.fromhex(ids))
    kind = FailureKind(failure) if failure else None
    return AreaDraft(records=record_count or 0, first=first, failure=kind)


class _Batch(Value, frozen=True, kw_only=True):
    """A batch in its transaction.

    Attributes:
        persons: as they were known before, with what was read of them.
    """

    connection: AsyncConnection
    handle: RunHandle
    pass_no: int
    confirm: Confirm
    persons: Sequence[tuple[Known, PersonRead]]

    async def write_changes(self, area: ResourceArea) -> frozenset[int]:
        """Write what differs in an area from what is published.

        Returns:
            The persons whose read changes nothing until a second one has confirmed it.
        """
        reads = {
            person.person_id: (person, found)
            for person, read in self.persons
            for found in read.areas
            if found.area == area.name
        }
        changes = await self._changes(area, [*reads.values()])
        first = {one: some for one, some in changes.items() if _is_first(reads[one][1])}
        waiting = await self._waiting(area, first)
        again = [(one,) for one, (person, _) in reads.items() if person.draft is not None]
        forget = filled(statements.FORGET_CHANGES, area, run=self.handle.run_id)
        await IDS.execute(self.connection, forget, again)
        rows = [
            _change_row(person_id, change, len(area.columns))
            for person_id, some in changes.items()
            if person_id not in waiting
            for change in some
        ]
        write = filled(statements.WRITE_CHANGES, area, run=self.handle.run_id)
        await _CHANGES[area.name].execute(self.connection, write, rows)
        return waiting

    async def _changes(
        self, area: ResourceArea, reads: Sequence[tuple[Known, AreaRead]]
    ) -> Mapping[int, Sequence[Change]]:
        """What differs of an area, by person."""
        differing = [
            (person, found)
            for person, found in reads
            if isinstance(found, CompleteArea) and not _is_as_published(found, person)
        ]
        published = [(person.person_id,) for person, _ in differing if not person.is_new]
        stored = await self._open_versions(area, published)
        return {
            person.person_id: diff_area(area, stored.get(person.person_id, ()), found)
            for person, found in differing
        }

    async def _open_versions(
        self, area: ResourceArea, persons: Sequence[Row]
    ) -> Mapping[int, Sequence[StoredVersion]]:
        """The versions of an area that readers see as open, by person."""
        stored: dict[int, list[StoredVersion]] = defaultdict(list)
        find = filled(statements.OPEN_VERSIONS, area)
        for row in await IDS.execute(self.connection, find, persons):
            person_id, version_id, key, content_hash, first_seen_at, *content, extra = row
            stored[person_id].append(
                StoredVersion(
                    version_id=version_id,
                    key=key,
                    content_hash=content_hash,
                    first_seen_at=as_utc(first_seen_at),
                    columns=tuple(
                        as_utc(value) if value and column.type == ColumnType.TIME else value
                        for column, value in zip(area.columns, content, strict=True)
                    ),
                    extra=extra,
                )
            )
        return stored

    async def _waiting(
        self, area: ResourceArea, first: Mapping[int, Sequence[Change]]
    ) -> frozenset[int]:
        """The persons whose first read of an area needs a second one, by what it would change."""
        taken: dict[int, set[str]] = defaultdict(set)
        new = [
            (person_id, change.key)
            for person_id, some in first.items()
            for change in some
            if change.op == Op.INSERT
        ]
        find = filled(statements.FIND_TAKEN, area)
        for person_id, key in await _RESTRICTIONS.execute(self.connection, find, new):
            taken[person_id].add(key)
        return frozenset(
            person_id
            for person_id, some in first.items()
            if needs_second_read(some, self.confirm, frozenset(taken[person_id]))
        )

    async def write_drafts(self, waiting: Mapping[str, frozenset[int]]) -> None:
        """Write what was read.

        Args:
            waiting: the persons whose read waits for a second one, by area.
        """
        rows = {}
        for person, read in self.persons:
            areas = {
                area.area: _area_row(area, waits=person.person_id in waiting.get(area.area, ()))
                for area in read.areas
            }
            rows[person.person_id] = (
                person.person_id,
                read.person.person_key,
                person.is_new,
                *self._labels(read.person, person),
                *(value for area in AREAS for value in areas.get(area.name, _NOT_READ)),
            )
        handle = self.handle
        write = filled(statements.WRITE_DRAFTS, run=handle.run_id, pass_no=self.pass_no)
        await _DRAFTS.execute(self.connection, write, [*rows.values()])

    def _labels(self, person: Person, known: Known) -> tuple[str | None, str | None]:
        """What the person is called: a backfill's list is often bare identifiers."""
        labels = person.local_ref, person.cohort
        if self.handle.kind == RunKind.BACKFILL and labels == (None, None):
            return known.local_ref, known.cohort
        return labels


def _is_first(area: AreaRead) -> bool:
    return isinstance(area, CompleteArea) and area.proof.first_read is None


def _is_as_published(area: CompleteArea, known: Known) -> bool:
    if known.is_new:
        return not area.records
    return known.digests[area.area] == area.proof.digest.hex()


def _area_row(area: AreaRead, *, waits: bool) -> Row:
    """The columns of an area in ``draft``, in their order."""
    proof: tuple[Any, ...] = (None,) * len(PROOF)
    if isinstance(area, AreaFailure):
        failure = (area.kind.value, area.status, area.reason, area.attempts)
        return (FAILED, area.failed_at, *proof, *failure)
    first = area.proof.first_read
    first_digest = first and first.digest.hex()
    state = COMPLETE
    if waits:
        ids = ids_digest(area_named(area.area), area, area.proof.read_at)
        state, first_digest = UNCONFIRMED, ids.hex()
    return (
        state,
        area.proof.read_at,
        area.proof.pages,
        area.proof.record_count,
        area.proof.digest.hex(),
        first and first.read_at,
        first_digest,
        *(None,) * len(FAILURE),
    )


def _change_row(person_id: int, change: Change, columns: int) -> Row:
    record = change.record
    return (
        person_id,
        change.key,
        change.op.value,
        change.version_id,
        change.closes,
        change.loses,
        change.first_seen_at,
        change.observed_at,
        record and record.content_hash,
        *(record.columns if record else (None,) * columns),
        record and record.extra,
    )


async def _add_drift(
    connection: AsyncConnection, reads: Sequence[PersonRead], *, run_id: int, now: datetime
) -> None:
    """Count the fields of records that the contract does not declare, by name.

    A field's count is that of the last run that saw it; it may be a batch too high if a commit was
    made and not acknowledged.
    """
    counted = Counter[tuple[str, str]]()
    for read in reads:
        for area in read.areas:
            if isinstance(area, CompleteArea):
                counted.update({(area.area, name): n for name, n in area.drift.items()})
    rows = [(*field, count) for field, count in counted.most_common(LEDGER_DRIFT_MAX)]
    add = filled(statements.ADD_DRIFT, run=run_id, at=instant_sql(now), most=LEDGER_DRIFT_MAX)
    await _FIELDS.execute(connection, add, rows)
