"""Writes a batch: one transaction for many persons, each compared with what is published.

A digest tells of most areas that nothing differs; of the others the open versions are read, and
the differences become drafts of changes. A read that would close something is a draft of itself
alone: ``unconfirmed``, until the second read. Batches are idempotent: writing one again, after a
commit whose acknowledgement was lost, changes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from worker.store.database import Database
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


class Compared(Value, frozen=True, kw_only=True):
    """A batch, compared with what is published.

    Attributes:
        changes: what differs, by area and person; nothing of what waits for a second read.
        waiting: areas that wait for it, by person.
    """

    changes: Mapping[str, Mapping[int, Sequence[Change]]]
    waiting: Mapping[int, frozenset[str]]


class BatchWriter(Value, frozen=True, kw_only=True):
    """Writes the batches of one run.

    Attributes:
        confirm: which differences need a second read that agrees.
    """

    database: Database
    handle: RunHandle
    confirm: Confirm

    async def write(
        self, connection: AsyncConnection, batch: Sequence[PersonRead]
    ) -> frozenset[str]:
        """Write the batch in the caller's transaction.

        Returns:
            The keys of persons with an area that waits for a second read.
        """
        run_id = self.handle.run_id
        found = await identify(
            connection, [read.person.person_key for read in batch], run_id=run_id
        )
        last_no = await last_publication_no(connection)
        compared = await self._compare(connection, batch, found, last_no)
        await self._write_drafts(connection, batch, found, compared.waiting, last_no)
        for name, changes in compared.changes.items():
            again = [
                found[read.person.person_key].person_id
                for read in batch
                if found[read.person.person_key].attempt is not None
                and any(area.area == name for area in read.areas)
            ]
            if again:
                await forget_changes(connection, name, again, run_id=run_id)
            await write_changes(connection, name, changes, run_id=run_id)
        now = self.database.runtime.now()
        if any(isinstance(area, CompleteArea) for read in batch for area in read.areas):
            # A failure is no progress: a run that only fails is abandoned in the end.
            await connection.execute(
                update(run).where(run.c.run_id == run_id).values(progressed_at=now)
            )
        await add_drift(connection, batch, run_id=run_id, at=now)
        return frozenset(
            read.person.person_key
            for read in batch
            if found[read.person.person_key].person_id in compared.waiting
        )

    async def _compare(
        self,
        connection: AsyncConnection,
        batch: Sequence[PersonRead],
        found: Mapping[str, Known],
        last_no: int,
    ) -> Compared:
        reads = _differing(batch, found)
        known = {one.person_id for one in found.values() if not one.is_new}
        changes: dict[str, dict[int, Sequence[Change]]] = {}
        waiting: dict[int, set[str]] = defaultdict(set)
        for name in self.handle.areas:
            area = area_named(name)
            persons = [person_id for person_id in reads[name] if person_id in known]
            stored = await open_versions(connection, area, persons) if persons else {}
            changes[name] = {
                person_id: diff_area(area, stored.get(person_id, ()), read)
                for person_id, read in reads[name].items()
            }
            first = {
                person_id: some
                for person_id, some in changes[name].items()
                if reads[name][person_id].proof.first_read is None
            }
            for person_id in await self._unconfirmed(connection, area, first, last_no):
                waiting[person_id].add(name)
                changes[name][person_id] = ()
        return Compared(
            changes=changes, waiting={one: frozenset(areas) for one, areas in waiting.items()}
        )

    async def _unconfirmed(
        self,
        connection: AsyncConnection,
        area: ResourceArea,
        first: Mapping[int, Sequence[Change]],
        last_no: int,
    ) -> Sequence[int]:
        """The persons whose first read of an area needs a second one, by what it would change."""
        new = {
            person_id: keys
            for person_id, some in first.items()
            if (keys := frozenset(change.key for change in some if change.op == Op.INSERT))
        }
        taken: Mapping[int, frozenset[str]] = {}
        if new and last_no:
            taken = await taken_from_others(connection, area, new)
        return [
            person_id
            for person_id, some in first.items()
            if needs_second_read(some, self.confirm, taken.get(person_id, frozenset()))
        ]

    async def _write_drafts(
        self,
        connection: AsyncConnection,
        batch: Sequence[PersonRead],
        found: Mapping[str, Known],
        waiting: Mapping[int, frozenset[str]],
        last_no: int,
    ) -> None:
        rows = {}
        for read in batch:
            one = found[read.person.person_key]
            waits = waiting.get(one.person_id, frozenset())
            areas = {area.area: _area_row(area, waits) for area in read.areas}
            rows[one.person_id] = (
                one.person_id,
                read.person.person_key,
                one.is_new,
                *self._labels(read.person, one),
                *(value for area in AREAS for value in areas.get(area.name, _NOT_READ)),
            )
        await _DRAFTS.execute(
            connection,
            of_all(WRITE_DRAFTS),
            [*rows.values()],
            run=self.handle.run_id,
            attempt=self.handle.attempt,
            no=last_no,
        )

    def _labels(self, person: Person, found: Known) -> tuple[str | None, str | None]:
        """What the person is called: a backfill's list is often bare identifiers."""
        labels = person.local_ref, person.cohort
        if self.handle.kind == RunKind.BACKFILL and labels == (None, None):
            return found.local_ref, found.cohort
        return labels


def _differing(
    batch: Sequence[PersonRead], found: Mapping[str, Known]
) -> Mapping[str, Mapping[int, CompleteArea]]:
    """By area and person, complete reads that may not hold just what is open."""
    differing: dict[str, dict[int, CompleteArea]] = defaultdict(dict)
    for read in batch:
        one = found[read.person.person_key]
        for area in read.areas:
            if isinstance(area, CompleteArea) and not _is_as_published(area, one):
                differing[area.area][one.person_id] = area
    return differing


def _is_as_published(area: CompleteArea, found: Known) -> bool:
    if found.is_new:
        return not area.records
    return found.digests[area.area] == area.proof.digest.hex()


def _area_row(area: AreaRead, waits: frozenset[str]) -> Row:
    """The columns of an area, as in ``_OF_AREA``."""
    proof: tuple[Any, ...] = (None,) * len(PROOF)
    if isinstance(area, AreaFailure):
        failure = (area.kind.value, area.status, area.reason, area.attempts)
        return (FAILED, area.failed_at, *proof, *failure)
    first = area.proof.first_read
    first_digest = first and first.digest.hex()
    state = COMPLETE
    if area.area in waits:
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
