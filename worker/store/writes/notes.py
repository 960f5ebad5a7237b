"""What a batch adds to the ledger: drift, and the record key path of each area, which all share."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.budgets import LEDGER_DRIFT_MAX
from worker.core.model import AreaRead, CompleteArea, Drift, PersonRead, keyed_otherwise
from worker.core.run import RunHandle
from worker.core.value import Value
from worker.store.dialects import StoreDialect
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import key_paths
from worker.store.schema.tables import area_key, drift

log = structlog.get_logger(__name__)

_Entry: TypeAlias = tuple[str, Drift]


class Notes(Value, frozen=True, kw_only=True):
    """Drift by area, and record key paths by area; each is written once."""

    drift: frozenset[tuple[str, Drift]] = frozenset()
    key_paths: frozenset[tuple[str, str]] = frozenset()
    drift_left_out: int = 0

    def without(self, known: "Notes") -> "Notes":
        """The notes that are not known yet; one key path per area is enough."""
        areas = {area for area, _ in known.key_paths}
        return Notes(
            drift=self.drift - known.drift,
            key_paths=frozenset(item for item in self.key_paths if item[0] not in areas),
            drift_left_out=self.drift_left_out,
        )

    def with_(self, more: "Notes") -> "Notes":
        """Both combined."""
        return Notes(drift=self.drift | more.drift, key_paths=self.key_paths | more.key_paths)


def notes_of(batch: Sequence[PersonRead]) -> Notes:
    """The notes of the complete reads of a batch."""
    complete = [area for read in batch for area in read.areas if isinstance(area, CompleteArea)]
    paths = {area.area: area.proof.key_path for area in complete if area.proof.key_path}
    return Notes(
        drift=frozenset((area.area, item) for area in complete for item in area.drift),
        key_paths=frozenset(paths.items()),
        drift_left_out=sum(area.drift_left_out for area in complete),
    )


async def write_notes(
    connection: AsyncConnection,
    dialect: StoreDialect,
    notes: Notes,
    *,
    run_id: int,
    now: Callable[[], datetime],
) -> Notes:
    """Write notes that the ledger lacks, in the caller's transaction; drift up to a limit.

    Returns:
        The notes that the ledger has now.
    """
    if notes.key_paths:
        await claim_key_paths(connection, dialect, notes.key_paths, run_id=run_id)
    kept, new, left_out = frozenset[_Entry](), list[_Entry](), notes.drift_left_out
    if notes.drift:
        known = await _known_drift(connection)
        new = _within_limit(known, notes.drift)
        kept = (notes.drift & known) | frozenset(new)
        left_out += len(notes.drift) - len(kept)
    if new:
        first_seen_at = now()
        await connection.execute(
            dialect.insert(drift).on_conflict_do_nothing(),
            [
                {
                    "area": area,
                    "field": item.field,
                    "kind": item.kind,
                    "first_run": run_id,
                    "first_seen_at": first_seen_at,
                }
                for area, item in new
            ],
        )
    if left_out:
        log.warning("drift.left_out", run=run_id, entries=left_out)
    return Notes(drift=kept, key_paths=notes.key_paths)


async def claim_key_paths(
    connection: AsyncConnection,
    dialect: StoreDialect,
    paths: Iterable[tuple[str, str]],
    *,
    run_id: int,
) -> None:
    """Note record key paths by area, where no run has noted one before."""
    await connection.execute(
        dialect.insert(area_key).on_conflict_do_nothing(),
        [
            {"area": area, "key_path": key_path, "since_run": run_id}
            for area, key_path in sorted(paths)
        ],
    )


async def _known_drift(connection: AsyncConnection) -> frozenset[_Entry]:
    columns = (drift.c.area, drift.c.field, drift.c.kind)
    rows = await connection.execute(select(*columns))
    return frozenset((row.area, Drift(field=row.field, kind=row.kind)) for row in rows)


def _within_limit(known: frozenset[_Entry], found: frozenset[_Entry]) -> list[_Entry]:
    """New entries in order, up to ``LEDGER_DRIFT_MAX`` entries for each area."""
    sizes = Counter(area for area, _ in known)
    new = []
    for entry in sorted(found - known, key=lambda pair: (pair[0], pair[1].field, pair[1].kind)):
        sizes[entry[0]] += 1
        if sizes[entry[0]] <= LEDGER_DRIFT_MAX:
            new.append(entry)
    return new


@dataclass(slots=True, kw_only=True)
class AgreedRecordKeys:
    """Makes all shards agree on the record key path of each area before they write records.

    In one process the first record decides (``worker/sync/record_keys.py``). With shards, the first
    shard that claims a path decides, and commits the claim to the ledger before it writes records.
    """

    lease: Lease
    handle: RunHandle
    _agreed: dict[str, str] = field(default_factory=dict)

    async def agreed(self, batch: Sequence[PersonRead]) -> Sequence[PersonRead]:
        """The batch, with a failure for each area whose records use another key path.

        Raises:
            LeaseLostError: another process took over this shard.
        """
        found = {
            area.area: area.proof.key_path
            for read in reversed(batch)
            for area in read.areas
            if isinstance(area, CompleteArea) and area.proof.key_path
        }
        new = {area: path for area, path in sorted(found.items()) if area not in self._agreed}
        if new:
            self._agreed |= await self._claim(new)
        if all(self._is_agreed(area) for read in batch for area in read.areas):
            return batch
        return [
            PersonRead(person=read.person, areas=tuple(map(self._checked, read.areas)))
            for read in batch
        ]

    async def _claim(self, paths: Mapping[str, str]) -> Mapping[str, str]:
        async def work(connection: AsyncConnection) -> Mapping[str, str]:
            dialect = self.lease.database.dialect
            await claim_key_paths(connection, dialect, paths.items(), run_id=self.handle.run_id)
            kept = await key_paths(connection)
            return {area: kept[area] for area in paths}

        return await self.lease.write(work)

    def _is_agreed(self, read: AreaRead) -> bool:
        if not isinstance(read, CompleteArea) or not read.proof.key_path:
            return True
        return read.proof.key_path == self._agreed[read.area]

    def _checked(self, read: AreaRead) -> AreaRead:
        if self._is_agreed(read) or not isinstance(read, CompleteArea):
            return read
        return keyed_otherwise(read, f"but another shard uses {self._agreed[read.area]}")
