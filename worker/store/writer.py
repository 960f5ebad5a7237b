"""The batched writer: one transaction for many whole persons, with their proofs.

Each batch reads what the store holds of its persons in a handful of queries, takes the difference
in memory (``core.diff``), and writes only what differs. Applying a batch a second time, after a
commit whose reply was lost, changes nothing more.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.diff import AreaChange, StoredVersion, diff_area
from worker.core.model import AreaFailure, CompleteArea, Drift, Person, PersonRead
from worker.core.run import BatchResult, RunHandle
from worker.store.database import Database
from worker.store.dialects import upsert
from worker.store.lease import Lease
from worker.store.slots import write_slots
from worker.store.tables import VERSIONS, area_key, drift, failure, person, run
from worker.store.undo import undo_persons

_FIRST, _REF = run.alias("first"), run.alias("ref")
"""The runs that first met a person, and that gave the local reference."""

_FAILURE_VALUES: Final = ("kind", "status", "reason", "attempts", "runs", "last_at", "last_run")


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
    _known_keys: dict[str, str] = field(default_factory=dict)

    async def apply(self, batch: Sequence[PersonRead]) -> BatchResult:
        """Write the batch in one transaction.

        Raises:
            LeaseLostError: another holder took over; nothing was written.
            UnavailableError: the database cannot be used after all retries.
        """
        if not batch:
            return BatchResult()

        async def work(connection: AsyncConnection) -> BatchResult:
            return await self._apply(connection, batch)

        result = await self.database.write(work)
        self._known_drift |= _drift(batch)
        self._known_keys |= _key_paths(batch)
        return result

    async def _apply(self, connection: AsyncConnection, batch: Sequence[PersonRead]) -> BatchResult:
        await self.lease.renew(self.database, connection)
        ids = await self._person_ids(connection, [read.person for read in batch])
        for run_id in self.unpublished:
            await undo_persons(connection, self.database.dialect, run_id, list(ids.values()))
        changes = await self._changes(connection, batch, ids)
        await self._write_versions(connection, changes)
        await write_slots(
            connection,
            self.database.dialect,
            batch,
            ids,
            run_id=self.handle.run_id,
            attempt_id=self.handle.attempt_id,
        )
        await self._write_failures(connection, batch, ids)
        await self._write_keys(connection, batch)
        await self._write_drift(connection, batch)
        return BatchResult(
            opened=sum(len(change.open) for _, _, change in changes),
            closed=sum(len(change.close) for _, _, change in changes),
            unchanged=sum(change.unchanged for _, _, change in changes),
            removed=sum(change.removed for _, _, change in changes),
        )

    async def _person_ids(
        self, connection: AsyncConnection, persons: Sequence[Person]
    ) -> dict[str, int]:
        """The row of each person, made where there is none; local references kept up to date."""
        dialect, run_id = self.database.dialect, self.handle.run_id
        keys = [one.person_key for one in persons]
        found = {
            row.person_key: row
            for row in await connection.execute(
                select(
                    person.c.person_key,
                    person.c.person_id,
                    person.c.local_ref,
                    person.c.local_ref_run,
                    person.c.prev_local_ref,
                    person.c.first_run,
                    _FIRST.c.publication_no.label("first_no"),
                    _REF.c.publication_no.label("ref_no"),
                )
                .join(_FIRST, _FIRST.c.run_id == person.c.first_run)
                .join(_REF, _REF.c.run_id == person.c.local_ref_run)
                .where(
                    person.c.tenant_id == self.lease.tenant_id,
                    dialect.member(person.c.person_key, keys),
                )
            )
        }
        new = [one for one in persons if one.person_key not in found]
        ids = {key: row.person_id for key, row in found.items()}
        if new:
            made = await connection.execute(
                insert(person).returning(person.c.person_id, person.c.person_key),
                [
                    {
                        "tenant_id": self.lease.tenant_id,
                        "person_key": one.person_key,
                        "first_run": run_id,
                        "local_ref": one.local_ref,
                        "local_ref_run": run_id,
                    }
                    for one in new
                ],
            )
            ids |= {row.person_key: row.person_id for row in made}
        await self._write_local_refs(connection, persons, found)
        return ids

    async def _write_local_refs(
        self, connection: AsyncConnection, persons: Sequence[Person], found: Mapping[str, Any]
    ) -> None:
        run_id = self.handle.run_id
        rows = []
        for one in persons:
            row = found.get(one.person_key)
            if row is None:
                continue
            # What a run left that was never published, no reader has seen: the reference that
            # readers see stands behind it.
            is_ours = row.local_ref_run == run_id
            is_unseen = not is_ours and row.ref_no is None
            is_adopted = row.first_run != run_id and row.first_no is None
            if row.local_ref == one.local_ref and not is_unseen and not is_adopted:
                continue
            rows.append(
                {
                    "id": row.person_id,
                    "new_ref": one.local_ref,
                    "old_ref": row.prev_local_ref if is_ours or is_unseen else row.local_ref,
                    "first": run_id if is_adopted else row.first_run,
                }
            )
        if rows:
            await connection.execute(
                update(person)
                .where(person.c.person_id == bindparam("id"))
                .values(
                    local_ref=bindparam("new_ref"),
                    prev_local_ref=bindparam("old_ref"),
                    first_run=bindparam("first"),
                    local_ref_run=run_id,
                ),
                rows,
            )

    async def _changes(
        self, connection: AsyncConnection, batch: Sequence[PersonRead], ids: Mapping[str, int]
    ) -> list[tuple[str, int, AreaChange]]:
        """The difference of each area that was read whole, by area and person."""
        reads: dict[str, dict[int, CompleteArea]] = defaultdict(dict)
        for one in batch:
            for area in one.areas:
                if isinstance(area, CompleteArea):
                    reads[area.area][ids[one.person.person_key]] = area
        changes = []
        for name, areas in reads.items():
            stored = await self._stored(connection, name, list(areas))
            for person_id, area in areas.items():
                change = diff_area(stored.get(person_id, ()), area)
                changes.append((name, person_id, change))
        return changes

    async def _stored(
        self, connection: AsyncConnection, area: str, persons: Sequence[int]
    ) -> dict[int, list[StoredVersion]]:
        table, run_id = VERSIONS[area], self.handle.run_id
        rows = await connection.execute(
            select(
                table.c.version_id,
                table.c.person_id,
                table.c.restriction_id,
                table.c.content_hash,
                table.c.first_seen_at,
                table.c.opened_run,
                table.c.closed_run,
            ).where(
                self.database.dialect.member(table.c.person_id, persons),
                table.c.closed_run.is_(None) | (table.c.closed_run == run_id),
            )
        )
        stored: dict[int, list[StoredVersion]] = defaultdict(list)
        for row in rows:
            stored[row.person_id].append(
                StoredVersion(
                    version_id=row.version_id,
                    key=row.restriction_id,
                    content_hash=row.content_hash,
                    first_seen_at=row.first_seen_at,
                    opened_here=row.opened_run == run_id,
                    closed_here=row.closed_run == run_id,
                )
            )
        return stored

    async def _write_versions(
        self, connection: AsyncConnection, changes: Sequence[tuple[str, int, AreaChange]]
    ) -> None:
        run_id, dialect = self.handle.run_id, self.database.dialect
        for name, table in VERSIONS.items():
            ours = [(person_id, change) for area, person_id, change in changes if area == name]
            erased = [row for _, change in ours for row in change.erase]
            if erased:
                await connection.execute(
                    delete(table).where(dialect.member(table.c.version_id, erased))
                )
            for closed_run, rows in (
                (run_id, [row for _, change in ours for row in change.close]),
                (None, [row for _, change in ours for row in change.reopen]),
            ):
                if rows:
                    await connection.execute(
                        update(table)
                        .where(dialect.member(table.c.version_id, rows))
                        .values(closed_run=closed_run)
                    )
            opened = [
                {
                    **opening.record.columns,
                    "person_id": person_id,
                    "restriction_id": opening.record.key,
                    "opened_run": run_id,
                    "first_seen_at": opening.first_seen_at,
                    "observed_at": opening.observed_at,
                    "content_hash": opening.record.content_hash,
                    "payload": opening.record.payload,
                }
                for person_id, change in ours
                for opening in change.open
            ]
            if opened:
                await connection.execute(insert(table), opened)

    async def _write_failures(
        self, connection: AsyncConnection, batch: Sequence[PersonRead], ids: Mapping[str, int]
    ) -> None:
        failed: dict[tuple[int, str], AreaFailure] = {}
        cured: dict[str, list[int]] = defaultdict(list)
        for one in batch:
            for area in one.areas:
                if isinstance(area, AreaFailure):
                    failed[ids[one.person.person_key], area.area] = area
                else:
                    cured[area.area].append(ids[one.person.person_key])
        for name, persons in cured.items():
            await connection.execute(
                delete(failure).where(
                    self.database.dialect.member(failure.c.person_id, persons),
                    failure.c.area == name,
                )
            )
        if failed:
            await self._upsert_failures(connection, failed)

    async def _upsert_failures(
        self, connection: AsyncConnection, failed: Mapping[tuple[int, str], AreaFailure]
    ) -> None:
        persons = sorted({person_id for person_id, _ in failed})
        rows = await connection.execute(
            select(failure).where(self.database.dialect.member(failure.c.person_id, persons))
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
                    "first_at": area.failed_at if old is None else old.first_at,
                    "last_at": area.failed_at,
                    "first_run": run_id if old is None else old.first_run,
                    "last_run": run_id,
                }
            )
        await connection.execute(upsert(self.database.dialect, failure, _FAILURE_VALUES), values)

    async def _write_keys(self, connection: AsyncConnection, batch: Sequence[PersonRead]) -> None:
        """Remember the record key path of each area, once."""
        new = sorted(item for item in _key_paths(batch).items() if item[0] not in self._known_keys)
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
                    for area, key_path in new
                ],
            )

    async def _write_drift(self, connection: AsyncConnection, batch: Sequence[PersonRead]) -> None:
        found = _drift(batch) - self._known_drift
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
