"""Writes a batch: one transaction for many persons, each compared with what is published.

A digest tells of most areas that nothing differs; of the others the open versions are read, and
the differences become drafts of changes. A read that would close something is a draft of itself
alone: ``unconfirmed``, until the second read. Batches are idempotent: writing one again, after a
commit whose acknowledgement was lost, changes nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS, area_named
from worker.core.area import ColumnType, ResourceArea
from worker.core.budgets import LEDGER_DRIFT_MAX
from worker.core.confirmation import Confirm, ids_digest, needs_second_read
from worker.core.diff import Change, Op, StoredVersion, diff_area
from worker.core.effect import instant_sql
from worker.core.model import AreaFailure, AreaRead, CompleteArea, Person, PersonRead, RunKind
from worker.core.run import RunHandle
from worker.core.value import Value
from worker.store import statements
from worker.store.drafts.bulk import IDS, InputRows, Row
from worker.store.drafts.persons import Known, identify
from worker.store.runs.ledger import last_publication_no
from worker.store.schema.tables import (
    CHANGES,
    COMPLETE,
    FAILED,
    FAILURE,
    PROOF,
    UNCONFIRMED,
    draft,
    drift,
    run,
)
from worker.store.statements import filled
from worker.views import as_utc

log = structlog.get_logger(__name__)

CHARACTERS_MAX: Final = 4_000_000
"""Text of one INSERT. A larger batch is split, because several copies are in memory."""
_DRAFTS: Final = InputRows.of(draft, but={"run_id", "attempt", "compared_no"})
_NOT_READ: Final = (None,) * len(("state", "read_at", *PROOF, *FAILURE))
"""The columns of an area that was not read."""
_CHANGES: Final = {name: InputRows.of(table, but={"run_id"}) for name, table in CHANGES.items()}
_RESTRICTIONS: Final = InputRows((("person_id", "bigint"), ("restriction_id", "text")))
_FIELDS: Final = InputRows((("area", "text"), ("field", "text"), ("records", "bigint")))


async def write_batch(
    connection: AsyncConnection,
    reads: Sequence[PersonRead],
    *,
    handle: RunHandle,
    confirm: Confirm,
    now: datetime,
) -> frozenset[str]:
    """Write a batch of a run in the caller's transaction.

    Args:
        confirm: which differences need a second read that agrees.

    Returns:
        The keys of persons with an area that waits for a second read.
    """
    run_id = handle.run_id
    known = await identify(connection, [read.person.person_key for read in reads], run_id=run_id)
    batch = _Batch(
        connection=connection,
        handle=handle,
        confirm=confirm,
        persons=[(known[read.person.person_key], read) for read in reads],
        last_no=await last_publication_no(connection),
    )
    waiting = {name: await batch.write_changes(area_named(name)) for name in handle.areas}
    await batch.write_drafts(waiting)
    if any(isinstance(area, CompleteArea) for read in reads for area in read.areas):
        # A failure is no progress: a run that only fails is abandoned in the end.
        await connection.execute(
            update(run).where(run.c.run_id == run_id).values(progressed_at=now)
        )
    await _add_drift(connection, reads, run_id=run_id, at=now)
    return frozenset(
        read.person.person_key
        for person, read in batch.persons
        if any(person.person_id in persons for persons in waiting.values())
    )


class _Batch(Value, frozen=True, kw_only=True):
    """A batch in its transaction.

    Attributes:
        persons: as they were known before, with what was read of them.
        last_no: the publication that the reads are compared with.
    """

    connection: AsyncConnection
    handle: RunHandle
    confirm: Confirm
    persons: Sequence[tuple[Known, PersonRead]]
    last_no: int

    async def write_changes(self, area: ResourceArea) -> frozenset[int]:
        """Write what differs in an area from what is published.

        Returns:
            The persons whose read changes nothing until a second one has confirmed it.
        """
        by_person = {
            person.person_id: (person, found)
            for person, of_person in self.persons
            for found in of_person.areas
            if found.area == area.name
        }
        read = [*by_person.values()]
        changes, first = await self._differences(area, read)
        waiting = await self._waiting(area, {one: changes[one] for one in first})
        again = [(person.person_id,) for person, _ in read if person.attempt is not None]
        forget = filled(statements.FORGET_CHANGES, area, run=self.handle.run_id)
        await IDS.execute(self.connection, forget, again)
        rows = [
            _change_row(person_id, change, len(area.columns))
            for person_id, some in changes.items()
            if person_id not in waiting
            for change in some
        ]
        write = filled(statements.WRITE_CHANGES, area, run=self.handle.run_id)
        for part in _parts(rows):
            await _CHANGES[area.name].execute(self.connection, write, part)
        return waiting

    async def _differences(
        self, area: ResourceArea, read: Sequence[tuple[Known, AreaRead]]
    ) -> tuple[Mapping[int, Sequence[Change]], Sequence[int]]:
        """What differs of an area, by person; and the persons of whom this is the first read."""
        differing = {
            person.person_id: found
            for person, found in read
            if isinstance(found, CompleteArea) and not _is_as_published(found, person)
        }
        published = [
            (person.person_id,)
            for person, _ in read
            if person.person_id in differing and not person.is_new
        ]
        stored = await self._open_versions(area, published)
        changes = {
            person_id: diff_area(area, stored.get(person_id, ()), found)
            for person_id, found in differing.items()
        }
        first = [one for one, found in differing.items() if found.proof.first_read is None]
        return changes, first

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
        if self.last_no:
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
        write = filled(
            statements.WRITE_DRAFTS,
            run=self.handle.run_id,
            attempt=self.handle.attempt,
            no=self.last_no,
        )
        await _DRAFTS.execute(self.connection, write, [*rows.values()])

    def _labels(self, person: Person, known: Known) -> tuple[str | None, str | None]:
        """What the person is called: a backfill's list is often bare identifiers."""
        labels = person.local_ref, person.cohort
        if self.handle.kind == RunKind.BACKFILL and labels == (None, None):
            return known.local_ref, known.cohort
        return labels


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
        state, first_digest = UNCONFIRMED, ids_digest(area_named(area.area), area).hex()
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


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in parts of at most ``CHARACTERS_MAX``; a larger row is a part by itself."""
    part: list[Row] = []
    characters = 0
    for row in rows:
        size = sum(len(value) for value in row if isinstance(value, str))
        characters += size
        if part and characters > CHARACTERS_MAX:
            yield part
            part, characters = [], size
        part.append(row)
    if part:
        yield part


async def _add_drift(
    connection: AsyncConnection, reads: Sequence[PersonRead], *, run_id: int, at: datetime
) -> None:
    """Count the fields of records that the contract does not declare, by name.

    A field's count is that of the last run that saw it; it may be a batch too high if a commit was
    made and not acknowledged. An area has ``LEDGER_DRIFT_MAX`` fields at most.
    """
    counted = Counter[tuple[str, str]]()
    for read in reads:
        for area in read.areas:
            if isinstance(area, CompleteArea):
                counted.update({(area.area, name): n for name, n in area.drift.items()})
    if not counted:
        return
    known = {tuple(row) for row in await connection.execute(select(drift.c.area, drift.c.field))}
    sizes = Counter(area for area, _ in known)
    rows = []
    for (area_name, name), count in sorted(counted.items()):
        sizes[area_name] += (area_name, name) not in known
        if (area_name, name) in known or sizes[area_name] <= LEDGER_DRIFT_MAX:
            rows.append((area_name, name, count))
    add = filled(statements.ADD_DRIFT, run=run_id, at=instant_sql(at))
    await _FIELDS.execute(connection, add, rows)
    if len(rows) < len(counted):
        log.warning("drift.left_out", run=run_id, fields=len(counted) - len(rows))
