"""What a batch brings beside its persons: drift, and the record key path of each area."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import CompleteArea, Drift, PersonRead
from worker.core.value import Value
from worker.store.dialects import StoreDialect
from worker.store.tables import area_key, drift


class Notes(Value, frozen=True, kw_only=True):
    """Drift by area, and record key paths by area; each is written once."""

    drift: frozenset[tuple[str, Drift]] = frozenset()
    key_paths: frozenset[tuple[str, str]] = frozenset()

    def without(self, known: "Notes") -> "Notes":
        """What is not known yet; of an area one path is enough."""
        areas = {area for area, _ in known.key_paths}
        return Notes(
            drift=self.drift - known.drift,
            key_paths=frozenset(item for item in self.key_paths if item[0] not in areas),
        )

    def with_(self, more: "Notes") -> "Notes":
        """Both together."""
        return Notes(drift=self.drift | more.drift, key_paths=self.key_paths | more.key_paths)


def notes_of(batch: Sequence[PersonRead]) -> Notes:
    """The notes of the complete reads of a batch."""
    complete = [area for one in batch for area in one.areas if isinstance(area, CompleteArea)]
    paths = {area.area: area.proof.key_path for area in complete if area.proof.key_path}
    return Notes(
        drift=frozenset((area.area, item) for area in complete for item in area.drift),
        key_paths=frozenset(paths.items()),
    )


async def write_notes(
    connection: AsyncConnection,
    dialect: StoreDialect,
    notes: Notes,
    *,
    tenant_id: int,
    run_id: int,
    now: Callable[[], datetime],
) -> None:
    """Write what the ledger does not have, in the caller's transaction."""
    if notes.key_paths:
        await connection.execute(
            dialect.insert(area_key).on_conflict_do_nothing(),
            [
                {
                    "tenant_id": tenant_id,
                    "area": area,
                    "key_path": key_path,
                    "since_run": run_id,
                }
                for area, key_path in sorted(notes.key_paths)
            ],
        )
    if notes.drift:
        first_seen_at = now()
        await connection.execute(
            dialect.insert(drift).on_conflict_do_nothing(),
            [
                {
                    "tenant_id": tenant_id,
                    "area": area,
                    "field": item.field,
                    "kind": item.kind,
                    "first_run": run_id,
                    "first_seen_at": first_seen_at,
                }
                for area, item in sorted(
                    notes.drift, key=lambda pair: (pair[0], pair[1].field, pair[1].kind)
                )
            ],
        )
