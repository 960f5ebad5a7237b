"""What a batch adds to the ledger: drift, and the record key path of each area."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.budgets import LEDGER_DRIFT_MAX
from worker.core.model import CompleteArea, Drift, PersonRead
from worker.core.value import Value
from worker.store.dialects import StoreDialect
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
        await _claim_key_paths(connection, dialect, notes.key_paths, run_id=run_id)
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


async def _claim_key_paths(
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
