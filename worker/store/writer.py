"""The batched writer: one transaction for many whole persons, with their proofs.

Each batch reads what the store holds of its persons in a handful of queries, takes the difference
in memory (``core.diff``), and writes only what differs. Applying a batch a second time, after a
commit whose reply was lost, changes nothing more.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.diff import StoredVersion, diff_area
from worker.core.model import AreaFailure, CompleteArea, Drift, PersonRead
from worker.core.run import BatchResult, RunHandle
from worker.store.database import Database
from worker.store.dialects import upsert
from worker.store.lease import Lease
from worker.store.meeting import Met, meet
from worker.store.slots import published_digests, write_slots
from worker.store.tables import area_key, attempt, drift, failure
from worker.store.undo import undo_persons
from worker.store.versions import Change, stored_versions, write_versions

_FAILURE_VALUES: Final = ("kind", "status", "reason", "attempts", "runs", "last_at", "last_run")
"""What a further failure of the same area changes; the first time and run stay."""


@dataclass(slots=True, kw_only=True)
class BatchWriter:
    """Writes finished persons of one run.

    Attributes:
        unpublished: other open runs; what they wrote of a person is taken back before this run
            writes, so that the difference is always to the published state.
    """

    database: Database
    lease: Lease
    handle: RunHandle
    unpublished: tuple[int, ...] = ()
    _known_drift: set[tuple[str, Drift]] = field(default_factory=set)
    _known_keys: set[str] = field(default_factory=set)

    async def apply(self, batch: Sequence[PersonRead]) -> BatchResult:
        """Write the batch in one transaction.

        Raises:
            LeaseLostError: another holder took over; nothing was written.
            UnavailableError: the database cannot be used after all retries.
        """
        if not batch:
            return BatchResult()

        drift = _drift(batch) - self._known_drift
        keys = {item for item in _key_paths(batch).items() if item[0] not in self._known_keys}

        async def work(connection: AsyncConnection) -> BatchResult:
            result = await self._apply(connection, batch)
            await self._write_keys(connection, keys)
            await self._write_drift(connection, drift)
            return result

        result = await self.database.write(work)
        self._known_drift |= drift
        self._known_keys |= {area for area, _ in keys}
        return result

    async def _apply(self, connection: AsyncConnection, batch: Sequence[PersonRead]) -> BatchResult:
        await self.lease.renew(self.database, connection)
        dialect, run_id = self.database.dialect, self.handle.run_id
        met = await meet(
            connection,
            dialect,
            [read.person for read in batch],
            tenant_id=self.lease.tenant_id,
            run_id=run_id,
        )
        for other in self.unpublished:
            await undo_persons(connection, dialect, other, list(met.ids.values()))
        changes, unchanged = await self._changes(connection, batch, met)
        for area, ours in changes.items():
            await write_versions(connection, dialect, area, ours, run_id=run_id)
        await write_slots(
            connection, batch, met.ids, run_id=run_id, attempt_id=self.handle.attempt_id
        )
        await self._write_failures(connection, batch, met)
        await self._note_progress(connection, batch)
        done = [change for ours in changes.values() for _, change in ours]
        return BatchResult(
            opened=sum(len(change.open) for change in done),
            closed=sum(len(change.close) for change in done),
            unchanged=unchanged + sum(change.unchanged for change in done),
            removed=sum(change.removed for change in done),
        )

    async def _note_progress(
        self, connection: AsyncConnection, batch: Sequence[PersonRead]
    ) -> None:
        """The run has come further: an area was read that this run need not read again.

        What failed is no progress. A run whose every start fails is given up in the end.
        """
        if any(isinstance(area, CompleteArea) for read in batch for area in read.areas):
            await connection.execute(
                update(attempt)
                .where(attempt.c.attempt_id == self.handle.attempt_id)
                .values(progressed_at=self.database.runtime.now())
            )

    async def _changes(
        self, connection: AsyncConnection, batch: Sequence[PersonRead], met: Met
    ) -> tuple[Mapping[str, Sequence[Change]], int]:
        """The differences by area, and how many records are what they were.

        Of most persons the digest tells that nothing differs; only the others' rows are looked at.
        """
        dialect = self.database.dialect
        known = [person_id for person_id in met.ids.values() if person_id not in met.new]
        digests = await published_digests(connection, dialect, known) if known else {}
        unchanged = 0
        reads: dict[str, dict[int, CompleteArea]] = defaultdict(dict)
        for one in batch:
            person_id = met.ids[one.person.person_key]
            for area in one.areas:
                if not isinstance(area, CompleteArea):
                    continue
                if digests.get((person_id, area.area)) == area.proof.digest.hex():
                    unchanged += len(area.records)
                else:
                    reads[area.area][person_id] = area
        changes = {}
        for name, areas in reads.items():
            stored: Mapping[int, Sequence[StoredVersion]] = {}
            if old := [person_id for person_id in areas if person_id not in met.new]:
                stored = await stored_versions(
                    connection, dialect, name, old, run_id=self.handle.run_id
                )
            changes[name] = [
                (person_id, diff_area(stored.get(person_id, ()), area))
                for person_id, area in areas.items()
            ]
        return changes, unchanged

    async def _write_failures(
        self, connection: AsyncConnection, batch: Sequence[PersonRead], met: Met
    ) -> None:
        failed: dict[tuple[int, str], AreaFailure] = {}
        cured: dict[str, list[int]] = defaultdict(list)
        for one in batch:
            person_id = met.ids[one.person.person_key]
            for area in one.areas:
                if isinstance(area, AreaFailure):
                    failed[person_id, area.area] = area
                elif person_id in met.failed:
                    cured[area.area].append(person_id)
        dialect = self.database.dialect
        for name, persons in cured.items():
            await connection.execute(
                delete(failure).where(dialect.member(failure.c.person_id), failure.c.area == name),
                dialect.members(persons),
            )
        if failed:
            await self._upsert_failures(connection, failed)

    async def _upsert_failures(
        self, connection: AsyncConnection, failed: Mapping[tuple[int, str], AreaFailure]
    ) -> None:
        dialect = self.database.dialect
        persons = sorted({person_id for person_id, _ in failed})
        rows = await connection.execute(
            select(failure).where(dialect.member(failure.c.person_id)), dialect.members(persons)
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
        await connection.execute(upsert(self.database.dialect, failure, _FAILURE_VALUES), values)

    async def _write_keys(self, connection: AsyncConnection, new: set[tuple[str, str]]) -> None:
        """Remember the record key path of each area, once."""
        if new:
            await connection.execute(
                self.database.dialect.insert(area_key).on_conflict_do_nothing(),
                [
                    {
                        "tenant_id": self.lease.tenant_id,
                        "area": area,
                        "key_path": key_path,
                        "since_run": self.handle.run_id,
                    }
                    for area, key_path in sorted(new)
                ],
            )

    async def _write_drift(
        self, connection: AsyncConnection, found: set[tuple[str, Drift]]
    ) -> None:
        if found:
            now = self.database.runtime.now()
            await connection.execute(
                self.database.dialect.insert(drift).on_conflict_do_nothing(),
                [
                    {
                        "tenant_id": self.lease.tenant_id,
                        "area": area,
                        "field": item.field,
                        "kind": item.kind,
                        "first_run": self.handle.run_id,
                        "first_seen_at": now,
                    }
                    for area, item in sorted(
                        found, key=lambda pair: (pair[0], pair[1].field, pair[1].kind)
                    )
                ],
            )


def _drift(batch: Sequence[PersonRead]) -> set[tuple[str, Drift]]:
    return {
        (area.area, item)
        for one in batch
        for area in one.areas
        if isinstance(area, CompleteArea)
        for item in area.drift
    }


def _key_paths(batch: Sequence[PersonRead]) -> dict[str, str]:
    """The record key path that served each area, where there was a record."""
    return {
        area.area: area.proof.key_path
        for one in batch
        for area in one.areas
        if isinstance(area, CompleteArea) and area.proof.key_path
    }
