"""Counts the fields of records that the contract does not declare, by name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from sqlalchemy import Executable, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.budgets import LEDGER_DRIFT_MAX
from worker.core.model import CompleteArea, PersonRead
from worker.store.database import Database
from worker.store.dialects import StoreDialect
from worker.store.schema.tables import drift

log = structlog.get_logger(__name__)

_Field: TypeAlias = tuple[str, str]
"""Area and field."""


@dataclass(slots=True, kw_only=True)
class DriftCounter:
    """Adds what the batches of one run hold to the ledger of fields.

    A field's count is that of the last run that saw it; it may be a batch too high if a commit was
    made and not acknowledged. An area has ``LEDGER_DRIFT_MAX`` fields at most.
    """

    database: Database
    run_id: int
    _known: frozenset[_Field] = frozenset()

    async def add(self, connection: AsyncConnection, batch: Sequence[PersonRead]) -> None:
        """Add a batch's counts, in the caller's transaction."""
        counted = _counted(batch)
        if not counted:
            return
        if not counted.keys() <= self._known:
            self._known = await _with_new(connection, counted.keys() - self._known)
        rows = [
            {
                "area": area,
                "field": name,
                "records": count,
                "run_id": self.run_id,
                "first_run": self.run_id,
                "first_seen_at": self.database.runtime.now(),
            }
            for (area, name), count in sorted(counted.items())
            if (area, name) in self._known
        ]
        if rows:
            await connection.execute(_added(self.database.dialect), rows)
        if len(rows) < len(counted):
            log.warning("drift.left_out", run=self.run_id, fields=len(counted) - len(rows))


def _counted(batch: Sequence[PersonRead]) -> Mapping[_Field, int]:
    """In how many records of a batch each undeclared field stands."""
    counted = Counter[_Field]()
    for read in batch:
        for area in read.areas:
            if isinstance(area, CompleteArea):
                counted.update({(area.area, name): n for name, n in area.drift.items()})
    return counted


def _added(dialect: StoreDialect) -> Executable:
    """Adds to the counts of this run; a count of an earlier run begins anew."""
    statement = dialect.insert(drift)
    is_same_run = drift.c.run_id == statement.excluded.run_id
    before = case((is_same_run, drift.c.records), else_=0)
    added: Executable = statement.on_conflict_do_update(
        index_elements=[drift.c.area, drift.c.field],
        set_={"records": before + statement.excluded.records, "run_id": statement.excluded.run_id},
    )
    return added


async def _with_new(connection: AsyncConnection, new: set[_Field]) -> frozenset[_Field]:
    """The ledger's fields, and as many new ones as there is room for."""
    rows = await connection.execute(select(drift.c.area, drift.c.field))
    stored = {(row.area, row.field) for row in rows}
    sizes = Counter(area for area, _ in stored)
    for area, name in sorted(new - stored):
        sizes[area] += 1
        if sizes[area] <= LEDGER_DRIFT_MAX:
            stored.add((area, name))
    return frozenset(stored)
