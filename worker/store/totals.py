"""The totals of a run, counted from the rows themselves, so that they add up by construction."""

from typing import Any, Final

from sqlalchemy import Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.store.moves import same_tenant
from worker.store.tables import VERSIONS, attempt, person_area

TOTALS: Final = (
    "persons_total",
    "persons_complete",
    "persons_stale",
    "persons_departed",
    "roster_faults",
    "areas_complete",
    "areas_failed",
    "rows_read",
    "rows_opened",
    "rows_changed",
    "rows_closed",
    "rows_moved",
    "rows_unchanged",
    "requests",
    "retries",
)
"""The counters of a run, as columns of the ``run`` table."""


async def run_totals(connection: AsyncConnection, run_id: int) -> dict[str, int]:
    """The ledger's totals, counted from the rows, so that they add up by construction."""
    totals: dict[str, int] = dict.fromkeys(TOTALS, 0)
    per_person = (
        select(
            person_area.c.person_id,
            func.count().label("areas"),
            func.count().filter(person_area.c.is_complete).label("complete"),
            func.coalesce(
                func.sum(person_area.c.record_count).filter(person_area.c.is_complete), 0
            ).label("rows"),
        )
        .where(person_area.c.run_id == run_id)
        .group_by(person_area.c.person_id)
        .subquery()
    )
    row = (
        await connection.execute(
            select(
                func.count().label("persons"),
                func.count().filter(per_person.c.areas == per_person.c.complete).label("whole"),
                func.coalesce(func.sum(per_person.c.areas), 0).label("areas"),
                func.coalesce(func.sum(per_person.c.complete), 0).label("complete"),
                func.coalesce(func.sum(per_person.c.rows), 0).label("rows"),
            ).select_from(per_person)
        )
    ).one()
    totals["persons_total"] = row.persons
    totals["persons_complete"] = row.whole
    totals["persons_stale"] = row.persons - row.whole
    totals["areas_complete"] = int(row.complete)
    totals["areas_failed"] = int(row.areas) - int(row.complete)
    totals["rows_read"] = int(row.rows)
    for table in VERSIONS.values():
        await _add_row_totals(connection, table, run_id, totals)
    totals["rows_unchanged"] = (
        totals["rows_read"] - totals["rows_opened"] - totals["rows_changed"] - totals["rows_moved"]
    )
    cost = (
        await connection.execute(
            select(
                func.coalesce(func.sum(attempt.c.requests), 0),
                func.coalesce(func.sum(attempt.c.retries), 0),
            ).where(attempt.c.run_id == run_id)
        )
    ).one()
    totals["requests"], totals["retries"] = int(cost[0]), int(cost[1])
    return totals


async def _add_row_totals(
    connection: AsyncConnection, table: Table, run_id: int, totals: dict[str, int]
) -> None:
    """Opened, changed, moved and closed rows of one area: each row in one of them."""
    old, new = table.alias("old"), table.alias("new")

    def pairs(same_person: ColumnElement[bool]) -> Any:
        return (
            select(old.c.version_id)
            .where(
                old.c.closed_run == run_id,
                old.c.restriction_id == new.c.restriction_id,
                same_person,
                same_tenant(old, new),
            )
            .exists()
        )

    # An old row that its own person's new one replaces has not moved besides.
    own = table.alias("own")
    is_replaced = (
        select(own.c.version_id)
        .where(
            own.c.opened_run == run_id,
            own.c.restriction_id == old.c.restriction_id,
            own.c.person_id == old.c.person_id,
        )
        .correlate(old)
        .exists()
    )
    is_changed = pairs(old.c.person_id == new.c.person_id)
    is_moved = and_(~is_changed, pairs(and_(old.c.person_id != new.c.person_id, ~is_replaced)))
    row = (
        await connection.execute(
            select(
                func.count().filter(~is_changed, ~is_moved).label("opened"),
                func.count().filter(is_changed).label("changed"),
                func.count().filter(is_moved).label("moved"),
            ).where(new.c.opened_run == run_id)
        )
    ).one()
    closed = (
        await connection.execute(
            select(func.count()).select_from(table).where(table.c.closed_run == run_id)
        )
    ).scalar_one()
    totals["rows_opened"] += row.opened
    totals["rows_changed"] += row.changed
    totals["rows_moved"] += row.moved
    totals["rows_closed"] += max(closed - row.changed - row.moved, 0)
