"""Writes a batch: one transaction for many persons, each compared with the published state.

For most areas, equal digests show that nothing differs. For the others, the open versions are read
and the differences become drafts of changes. A read that would close a restriction is stored as
``unconfirmed``, without changes, until the second read. Batches are idempotent: writing one again
after a lost acknowledgement changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import ResourceArea, area_named
from worker.core.diff import Change, Confirm, Op, diff_area, ids_digest, needs_second_read
from worker.core.model import AreaFailure, AreaRead, CompleteArea, Person, PersonRead, RunKind
from worker.core.run import RunHandle
from worker.core.value import Value
from worker.store.derived import derived_columns
from worker.store.runs.drafts import StoredPerson, find_open_ids, find_persons, open_versions
from worker.store.runs.write_drafts import (
    count_drift,
    replace_changes,
    take_person_ids,
    write_draft_areas,
    write_drafts,
)
from worker.store.schema.tables import CHANGES, COMPLETE, FAILED, UNCONFIRMED, run
from worker.views import iso_utc

_NOTE_PROGRESS: Final = (
    update(run).where(run.c.run_id == bindparam("in_run")).values(progressed_at=bindparam("at"))
)


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
        pass_no: the pass number from ``RunHandle.pass_no``.
        confirm: which differences need a confirming second read.

    Returns:
        The keys of persons with an area that waits for a second read.
    """
    person_keys = [read.person.person_key for read in reads]
    persons = await _identify(connection, person_keys, run_id=handle.run_id)
    batch = _Batch(
        connection=connection,
        handle=handle,
        pass_no=pass_no,
        confirm=confirm,
        persons=[(persons[read.person.person_key], read) for read in reads],
    )
    waiting = {name: await batch.write_changes(area_named(name)) for name in handle.areas}
    await batch.write_drafts(waiting)
    if any(isinstance(area, CompleteArea) for read in reads for area in read.areas):
        # Failed reads are not progress, so a run without complete reads is abandoned in the end.
        await connection.execute(_NOTE_PROGRESS, {"in_run": handle.run_id, "at": now})
    await count_drift(connection, reads, run_id=handle.run_id, now=now)
    waiting_ids = frozenset[int]().union(*waiting.values())
    return frozenset(key for key, person in persons.items() if person.person_id in waiting_ids)


async def _identify(
    connection: AsyncConnection, person_keys: Sequence[str], *, run_id: int
) -> Mapping[str, StoredPerson]:
    """The persons by their key. Each new person gets an id."""
    persons = await find_persons(connection, person_keys, run_id=run_id)
    new = [key for key in dict.fromkeys(person_keys) if key not in persons]
    if new:
        # From a counter, not the table: a new person has no row in `person` before the publication.
        ids = await take_person_ids(connection, len(new))
        for key, person_id in zip(new, ids, strict=True):
            persons[key] = StoredPerson(person_id=person_id, is_new=True)
    return persons


class _Batch(Value, frozen=True, kw_only=True):
    """A batch in its transaction.

    Attributes:
        persons: each person as stored before the batch, with the new read.
    """

    connection: AsyncConnection
    handle: RunHandle
    pass_no: int
    confirm: Confirm
    persons: Sequence[tuple[StoredPerson, PersonRead]]

    async def write_changes(self, area: ResourceArea) -> frozenset[int]:
        """Write the differences between an area's reads and the published state.

        Returns:
            The ids of persons with a read that changes nothing until a second read confirms it.
        """
        reads = {
            person.person_id: (person, area_read)
            for person, read in self.persons
            for area_read in read.areas
            if area_read.area == area.name
        }
        changes = await self._changes(area, [*reads.values()])
        first_changes = {
            person_id: person_changes
            for person_id, person_changes in changes.items()
            if _is_first(reads[person_id][1])
        }
        waiting = await self._waiting(area, first_changes)
        rows = [
            self._change_row(area, person_id, change, reads[person_id][1])
            for person_id, person_changes in changes.items()
            # Without changes, a publication cannot apply an unconfirmed read.
            if person_id not in waiting
            for change in person_changes
        ]
        # Only a person with a draft can have changes to replace, and most persons have none.
        drafted_ids = [
            person_id for person_id, (person, _) in reads.items() if person.draft is not None
        ]
        await replace_changes(self.connection, self.handle, area, drafted_ids, rows)
        return waiting

    async def _changes(
        self, area: ResourceArea, reads: Sequence[tuple[StoredPerson, AreaRead]]
    ) -> Mapping[int, Sequence[Change]]:
        """The differences of an area, by person."""
        differing = [
            (person, read)
            for person, read in reads
            if isinstance(read, CompleteArea) and not _is_as_published(read, person)
        ]
        # A new person has no versions, so there is nothing to look up.
        published = [person.person_id for person, _ in differing if not person.is_new]
        stored = await open_versions(self.connection, area, published)
        return {
            person.person_id: diff_area(area, stored.get(person.person_id, ()), read)
            for person, read in differing
        }

    async def _waiting(
        self, area: ResourceArea, first_changes: Mapping[int, Sequence[Change]]
    ) -> frozenset[int]:
        """The persons with changes in their first read that a second read must confirm."""
        new = {
            person_id: {change.key for change in changes if change.op == Op.INSERT}
            for person_id, changes in first_changes.items()
        }
        new_ids = sorted(set[str]().union(*new.values()))
        # A restriction id that another person has suggests a mix-up, so it needs a second read. An
        # insert means that this person has no open version of it.
        taken = await find_open_ids(self.connection, area, new_ids)
        return frozenset(
            person_id
            for person_id, changes in first_changes.items()
            if needs_second_read(changes, self.confirm, taken & new[person_id])
        )

    def _change_row(
        self, area: ResourceArea, person_id: int, change: Change, read: AreaRead
    ) -> dict[str, Any]:
        """A row of the area's drafts of changes."""
        row = dict.fromkeys(CHANGES[area.name].c.keys()) | {
            "run_id": self.handle.run_id,
            "person_id": person_id,
            "restriction_id": change.key,
            "op": change.op.value,
            "version_id": change.version_id,
            "closes": change.closes,
            "loses": change.loses,
            "first_seen_at": change.first_seen_at,
            "observed_at": change.observed_at,
        }
        # A closing has no content. It records the two reads that did not contain the restriction.
        if change.record is None:
            return row | {"closed_by_reads": _interval_of(read)}
        names = (column.name for column in area.columns)
        values = dict(zip(names, change.record.columns, strict=True))
        content = {"content_hash": change.record.content_hash, "extra": change.record.extra}
        return row | content | values | derived_columns(area, values)

    async def write_drafts(self, waiting: Mapping[str, frozenset[int]]) -> None:
        """Write the drafts of the persons and of their areas.

        Args:
            waiting: by area, the ids of persons with a read that waits for its second read.
        """
        drafts, areas = {}, {}
        for person, read in self.persons:
            person_id = person.person_id
            local_ref, cohort = self._labels(read.person, person)
            drafts[person_id] = {
                "person_id": person_id,
                "person_key": read.person.person_key,
                "is_new": person.is_new,
                "local_ref": local_ref,
                "cohort": cohort,
            }
            for area in read.areas:
                is_waiting = person_id in waiting.get(area.area, ())
                row = _area_row(area, is_waiting=is_waiting)
                row.update(run_id=self.handle.run_id, person_id=person_id)
                # Keyed, because ON CONFLICT on PostgreSQL cannot update a row twice in a statement.
                areas[person_id, area.area] = row
        await write_drafts(self.connection, self.handle, [*drafts.values()], pass_no=self.pass_no)
        await write_draft_areas(self.connection, [*areas.values()])

    def _labels(self, person: Person, stored: StoredPerson) -> tuple[str | None, str | None]:
        """The person's reference and cohort.

        A backfill's list often contains only identifiers, so the stored labels are kept.
        """
        labels = person.local_ref, person.cohort
        if self.handle.kind == RunKind.BACKFILL and labels == (None, None):
            return stored.local_ref, stored.cohort
        return labels


def _is_first(read: AreaRead) -> bool:
    return isinstance(read, CompleteArea) and read.proof.first_read is None


def _is_as_published(read: CompleteArea, person: StoredPerson) -> bool:
    # A new person has no published digest. Only a read without records changes nothing.
    if person.is_new:
        return not read.records
    return person.digests.get(read.area) == read.proof.digest.hex()


def _interval_of(read: AreaRead) -> str | None:
    """The times of two reads that agree, as an interval (ISO 8601)."""
    if isinstance(read, AreaFailure) or read.proof.first_read is None:
        return None
    return f"{iso_utc(read.proof.first_read.read_at)}/{iso_utc(read.proof.read_at)}"


def _area_row(read: AreaRead, *, is_waiting: bool) -> dict[str, Any]:
    """The columns of a read in ``draft_area``, without its run and person.

    Args:
        is_waiting: the read waits for its second read.
    """
    if isinstance(read, AreaFailure):
        return {
            "area": read.area,
            "state": FAILED,
            "read_at": read.failed_at,
            "failure_kind": read.kind.value,
            "failure_status": read.status,
            "failure_reason": read.reason,
            "failure_attempts": read.attempts,
            "retry_at": read.retry_at,
        }
    area, proof, first = area_named(read.area), read.proof, read.proof.first_read
    return {
        "area": read.area,
        "state": UNCONFIRMED if is_waiting else COMPLETE,
        "read_at": proof.read_at,
        # Costs a hash of all records, and only a second read is compared with it.
        "ids_digest": ids_digest(area, read, proof.read_at).hex() if is_waiting else None,
        "pages": proof.pages,
        "record_count": proof.record_count,
        "digest": proof.digest.hex(),
        "first_read_at": None if first is None else first.read_at,
        "first_digest": None if first is None else first.digest.hex(),
    }
