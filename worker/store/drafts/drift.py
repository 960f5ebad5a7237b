"""Counts the fields of records that the contract does not declare, by name.

A field's count is that of the last run that saw it; it may be a batch too high if a commit was made
and not acknowledged. An area has ``LEDGER_DRIFT_MAX`` fields at most.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.budgets import LEDGER_DRIFT_MAX
from worker.core.effect import instant_sql
from worker.core.model import CompleteArea, PersonRead
from worker.store.drafts.bulk import InputRows
from worker.store.schema.tables import drift
from worker.store.statements import ADD_DRIFT

log = structlog.get_logger(__name__)

_FIELDS: Final = InputRows((("area", "text"), ("field", "text"), ("records", "integer")))


async def add_drift(
    connection: AsyncConnection, batch: Sequence[PersonRead], *, run_id: int, at: datetime
) -> None:
    """Add a batch's counts, in the caller's transaction."""
    counted = Counter[tuple[str, str]]()
    for read in batch:
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
    await _FIELDS.execute(connection, ADD_DRIFT.replace("{at}", instant_sql(at)), rows, run=run_id)
    if len(rows) < len(counted):
        log.warning("drift.left_out", run=run_id, fields=len(counted) - len(rows))
