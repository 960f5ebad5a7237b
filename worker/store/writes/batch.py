"""The batched writer: one transaction for many complete persons, with their proofs.

Each batch reads the stored rows of its persons in a few queries, computes the difference in memory
(``core.diff``), and writes only what differs. Batches are idempotent: applying one again, after a
commit whose acknowledgement was lost, changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.confirmation import (
    Confirm,
    Unconfirmed,
    needs_second_read,
    published_rows,
)
from worker.core.diff import StoredVersion, diff_area
from worker.core.model import AreaFailure, CompleteArea, PersonRead, RunKind
from worker.core.run import BatchResult, RunHandle
from worker.store.dialects import member, members, upsert
from worker.store.queries.published import is_anything_published
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import update_attempt
from worker.store.runs.undo import undo_persons
from worker.store.schema.tables import failure
from worker.store.writes.drift import drift_of, write_drift
from worker.store.writes.persons import PersonIds, resolve_persons
from worker.store.writes.proofs import published_digests, write_proofs
from worker.store.writes.versions import (
    Change,
    stored_versions,
    taken_from_others,
    write_versions,
)

_FAILURE_VALUES: Final = ("kind", "status", "reason", "attempts", "runs", "last_at", "last_run")
"""Columns that another failure of the same area updates; first time and first run stay."""


_Differing = Mapping[str, Mapping[int, Sequence[StoredVersion]]]
"""Stored rows by area and person, for reads that may differ from the published state."""

_Taken = Mapping[str, Mapping[int, frozenset[str]]]
"""Restrictions that another person has, as published, by area and person who holds them now."""


@dataclass(slots=True, kw_only=True)
class BatchWriter:
    """Writes persons that one run has read.

    Attributes:
        confirm: which differences need a second read that agrees before they are written.
        unpublished: other open runs. What they wrote for a person is undone before this run
            writes, so that the difference is always to the published state.
    """

    lease: Lease
    handle: RunHandle
    unpublished: tuple[int, ...] = ()
    confirm: Confirm = Confirm.REMOVALS
    _drift: frozenset[tuple[str, str]] = frozenset()

    async def apply(self, batch: Sequence[PersonRead]) -> BatchResult:
        """Write the batch in one transaction, except persons whose read needs a second one.

        The comparison is with the published state, regardless of what open runs have written.

        Raises:
            LeaseLostError: another holder took over; nothing was written.
            UnavailableError: the database cannot be used after all retries.
        """
        if not batch:
            return BatchResult()

        database = self.lease.database

        async def work(connection: AsyncConnection) -> tuple[BatchResult, frozenset[Any]]:
            result, written = await self._apply(connection, batch)
            known = await write_drift(
                connection,
                database.dialect,
                drift_of(written),
                known=self._drift,
                run_id=self.handle.run_id,
                now=database.runtime.now(),
            )
            return result, known

        result, self._drift = await self.lease.write(work)
        return result

    async def _apply(
        self, connection: AsyncConnection, batch: Sequence[PersonRead]
    ) -> tuple[BatchResult, Sequence[PersonRead]]:
        """Write the batch; return the result and the reads that were written."""
        run_id = self.handle.run_id
        resolved = await resolve_persons(
            connection,
            [read.person for read in batch],
            run_id=run_id,
            keeps_labels=self.handle.kind == RunKind.BACKFILL,
        )
        for other in self.unpublished:
            await undo_persons(connection, other, list(resolved.ids.values()))
        differing = await self._differing(connection, batch, resolved)
        taken = await self._taken(connection, batch, resolved, differing)
        unconfirmed = self._unconfirmed(batch, resolved, differing, taken)
        written = batch
        if unconfirmed:
            held_back = {waiting.read.person.person_key for waiting in unconfirmed}
            written = [read for read in batch if read.person.person_key not in held_back]
        changes, unchanged = _changes(written, resolved, differing)
        for area, area_changes in changes.items():
            await write_versions(connection, area, area_changes, run_id=run_id)
        await write_proofs(
            connection, written, resolved.ids, run_id=run_id, attempt_id=self.handle.attempt_id
        )
        await self._write_failures(connection, written, resolved)
        await self._record_progress(connection, written)
        done = [change for area_changes in changes.values() for _, change in area_changes]
        result = BatchResult(
            opened=sum(len(change.open) for change in done),
            closed=sum(len(change.close) for change in done),
            unchanged=unchanged + sum(change.unchanged for change in done),
            removed=sum(change.removed for change in done),
            unconfirmed=unconfirmed,
        )
        return result, written

    async def _record_progress(
        self, connection: AsyncConnection, batch: Sequence[PersonRead]
    ) -> None:
        """Record progress if this run need not read some area of the batch again.

        A failure is no progress: a run that only fails is abandoned in the end.
        """
        if any(isinstance(area, CompleteArea) for read in batch for area in read.areas):
            now = self.lease.database.runtime.now()
            await update_attempt(connection, self.handle, progressed_at=now)

    async def _differing(
        self, connection: AsyncConnection, batch: Sequence[PersonRead], resolved: PersonIds
    ) -> _Differing:
        """The stored rows of all areas, except those whose digest shows that nothing differs."""
        known = [person_id for person_id in resolved.ids.values() if person_id not in resolved.new]
        digests = await published_digests(connection, known) if known else {}
        persons: dict[str, dict[int, CompleteArea]] = defaultdict(dict)
        for read in batch:
            person_id = resolved.ids[read.person.person_key]
            for area in read.areas:
                if (
                    isinstance(area, CompleteArea)
                    and digests.get((person_id, area.area)) != area.proof.digest.hex()
                ):
                    persons[area.area][person_id] = area
        differing = {}
        for name, reads in persons.items():
            stored: Mapping[int, Sequence[StoredVersion]] = {}
            if old := [person_id for person_id in reads if person_id not in resolved.new]:
                stored = await stored_versions(connection, name, old, run_id=self.handle.run_id)
            differing[name] = {person_id: stored.get(person_id, ()) for person_id in reads}
        return differing

    async def _taken(
        self,
        connection: AsyncConnection,
        batch: Sequence[PersonRead],
        resolved: PersonIds,
        differing: _Differing,
    ) -> _Taken:
        """By area and person, restrictions of first reads that another person has."""
        # Not by what was open when the run began: a backfill may have published since.
        if not await is_anything_published(connection):
            return {}
        new: dict[str, dict[int, frozenset[str]]] = defaultdict(dict)
        for person_id, area, stored in _first_reads(batch, resolved, differing):
            if keys := {record.key for record in area.records} - published_rows(stored).keys():
                new[area.area][person_id] = frozenset(keys)
        return {
            name: await taken_from_others(
                connection,
                name,
                keys,
                unpublished=(self.handle.run_id, *self.unpublished),
            )
            for name, keys in new.items()
        }

    def _unconfirmed(
        self,
        batch: Sequence[PersonRead],
        resolved: PersonIds,
        differing: _Differing,
        taken: _Taken,
    ) -> tuple[Unconfirmed, ...]:
        """The persons with an area that needs a second read before anything is written."""
        published: dict[int, dict[str, frozenset[str]]] = defaultdict(dict)
        for person_id, area, stored in _first_reads(batch, resolved, differing):
            shown = published_rows(stored)
            others = taken.get(area.area, {}).get(person_id, frozenset())
            if needs_second_read(shown, area, self.confirm, others):
                published[person_id][area.area] = frozenset(shown)
        return tuple(
            Unconfirmed(read=read, published=areas, confirm=self.confirm)
            for read in batch
            if (areas := published.get(resolved.ids[read.person.person_key]))
        )

    async def _write_failures(
        self, connection: AsyncConnection, batch: Sequence[PersonRead], resolved: PersonIds
    ) -> None:
        failed: dict[tuple[int, str], AreaFailure] = {}
        resolved_failures: dict[str, list[int]] = defaultdict(list)
        for read in batch:
            person_id = resolved.ids[read.person.person_key]
            for area in read.areas:
                if isinstance(area, AreaFailure):
                    failed[person_id, area.area] = area
                elif person_id in resolved.failed:
                    resolved_failures[area.area].append(person_id)
        for name, persons in resolved_failures.items():
            await connection.execute(
                delete(failure).where(member(failure.c.person_id), failure.c.area == name),
                members(persons),
            )
        if failed:
            await self._upsert_failures(connection, failed)

    async def _upsert_failures(
        self, connection: AsyncConnection, failed: Mapping[tuple[int, str], AreaFailure]
    ) -> None:
        persons = sorted({person_id for person_id, _ in failed})
        rows = await connection.execute(
            select(failure).where(member(failure.c.person_id)), members(persons)
        )
        known = {(row.person_id, row.area): row for row in rows}
        run_id = self.handle.run_id
        values = []
        for (person_id, name), area in failed.items():
            old = known.get((person_id, name))
            runs = 1 if old is None else old.runs + (old.last_run != run_id)
            values.append(
                {
                    "person_id": person_id,
                    "area": name,
                    "kind": area.kind.value,
                    "status": area.status,
                    "reason": area.reason,
                    "attempts": area.attempts,
                    "runs": runs,
                    "first_at": area.failed_at,
                    "last_at": area.failed_at,
                    "first_run": run_id,
                    "last_run": run_id,
                }
            )
        await connection.execute(
            upsert(self.lease.database.dialect, failure, _FAILURE_VALUES), values
        )


def _first_reads(
    batch: Sequence[PersonRead], resolved: PersonIds, differing: _Differing
) -> Iterator[tuple[int, CompleteArea, Sequence[StoredVersion]]]:
    """Complete reads that no second one has confirmed and that may differ from what is stored."""
    for read in batch:
        person_id = resolved.ids[read.person.person_key]
        for area in read.areas:
            stored = differing.get(area.area, {}).get(person_id)
            if stored is None or not isinstance(area, CompleteArea):
                continue
            if area.proof.first_read is None:
                yield person_id, area, stored


def _changes(
    batch: Sequence[PersonRead], resolved: PersonIds, differing: _Differing
) -> tuple[Mapping[str, Sequence[Change]], int]:
    """The differences by area, and how many records are unchanged according to the digest."""
    changes: dict[str, list[Change]] = defaultdict(list)
    unchanged = 0
    for read in batch:
        person_id = resolved.ids[read.person.person_key]
        for area in read.areas:
            if not isinstance(area, CompleteArea):
                continue
            stored = differing.get(area.area, {}).get(person_id)
            if stored is None:
                unchanged += len(area.records)
            else:
                changes[area.area].append((person_id, diff_area(stored, area)))
    return changes, unchanged
