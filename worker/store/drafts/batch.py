"""Writes a batch: one transaction for many persons, each compared with what is published.

A digest tells of most areas that nothing differs; of the others the open versions are read, and
the differences become drafts of changes. A read that would close something is a draft of itself
alone: ``unconfirmed``, until the second read. Batches are idempotent: writing one again, after a
commit whose acknowledgement was lost, changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS, area_named
from worker.core.area import ResourceArea
from worker.core.confirmation import Confirm, ids_digest, needs_second_read
from worker.core.diff import Change, Op, diff_area
from worker.core.model import AreaFailure, AreaRead, CompleteArea, Person, PersonRead, RunKind
from worker.core.run import RunHandle
from worker.core.value import Value
from worker.store.drafts.bulk import InputRows, Row
from worker.store.drafts.changes import (
    forget_changes,
    open_versions,
    taken_from_others,
    write_changes,
)
from worker.store.drafts.drift import add_drift
from worker.store.drafts.persons import Known, identify
from worker.store.queries.published import last_publication_no
from worker.store.schema.tables import COMPLETE, FAILED, FAILURE, PROOF, UNCONFIRMED, draft, run
from worker.store.statements import WRITE_DRAFTS, of_all

_OF_AREA: Final = ("state", "read_at", *PROOF, *FAILURE)
_DRAFTS: Final = InputRows.of(draft, but={"run_id", "attempt", "compared_no"})
_NOT_READ: Final = (None,) * len(_OF_AREA)


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
    await add_drift(connection, reads, run_id=run_id, at=now)
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
        read = {
            person.person_id: (person, found)
            for person, of_person in self.persons
            for found in of_person.areas
            if found.area == area.name
        }
        differing = {
            person_id: found
            for person_id, (person, found) in read.items()
            if isinstance(found, CompleteArea) and not _is_as_published(found, person)
        }
        published = [person_id for person_id in differing if not read[person_id][0].is_new]
        stored = await open_versions(self.connection, area, published)
        changes = {
            person_id: diff_area(area, stored.get(person_id, ()), found)
            for person_id, found in differing.items()
        }
        first = {
            person_id: some
            for person_id, some in changes.items()
            if differing[person_id].proof.first_read is None
        }
        waiting = await self._unconfirmed(area, first)
        again = [person_id for person_id, (person, _) in read.items() if person.attempt is not None]
        lasting = {one: some for one, some in changes.items() if one not in waiting}
        run_id = self.handle.run_id
        await forget_changes(self.connection, area, again, run_id=run_id)
        await write_changes(self.connection, area, lasting, run_id=run_id)
        return waiting

    async def _unconfirmed(
        self, area: ResourceArea, first: Mapping[int, Sequence[Change]]
    ) -> frozenset[int]:
        """The persons whose first read of an area needs a second one, by what it would change."""
        new = {
            person_id: keys
            for person_id, some in first.items()
            if (keys := frozenset(change.key for change in some if change.op == Op.INSERT))
        }
        taken: Mapping[int, frozenset[str]] = {}
        if self.last_no:
            taken = await taken_from_others(self.connection, area, new)
        return frozenset(
            person_id
            for person_id, some in first.items()
            if needs_second_read(some, self.confirm, taken.get(person_id, frozenset()))
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
        await _DRAFTS.execute(
            self.connection,
            of_all(WRITE_DRAFTS),
            [*rows.values()],
            run=self.handle.run_id,
            attempt=self.handle.attempt,
            no=self.last_no,
        )

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
    """The columns of an area, as in ``_OF_AREA``."""
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
