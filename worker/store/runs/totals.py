"""The totals of a run, counted from the rows themselves, so that they add up by construction."""

from typing import Any

from sqlalchemy import Select, Subquery, Table, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.runs.moves import counterpart
from worker.store.schema.tables import TOTALS, VERSIONS, alias_of, attempt, person_area


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
    """Rows of one area that came and that went, each in one of opened, changed, moved and closed.

    Of one restriction, as many have moved as came under one person and went under another. Where
    nothing went, all that came is new: most nights, and the first one above all.
    """
    opened_rows = select(func.count()).select_from(table).where(table.c.opened_run == run_id)
    opened = await _sum(connection, opened_rows)
    closed = select(table.c.version_id).where(table.c.closed_run == run_id)
    if (await connection.execute(closed.limit(1))).first() is None:
        totals["rows_opened"] += opened
        return
    came = _by_restriction(table, "opened_run", "closed_run", run_id)
    went = _by_restriction(table, "closed_run", "opened_run", run_id)
    least = case((came.c.rows < went.c.rows, came.c.rows), else_=went.c.rows)
    pairs = came.join(went, came.c.restriction_id == went.c.restriction_id)
    moved = await _sum(connection, select(func.sum(least)).select_from(pairs))
    came_in_all = await _sum(connection, select(func.sum(came.c.rows)))
    totals["rows_moved"] += moved
    totals["rows_opened"] += came_in_all - moved
    totals["rows_changed"] += opened - came_in_all
    totals["rows_closed"] += await _sum(connection, select(func.sum(went.c.rows))) - moved


def _by_restriction(table: Table, column: str, of_change: str, run_id: int) -> Subquery:
    """How many rows of each restriction the run has opened, or closed, and not merely changed."""
    row = alias_of(table, "row")
    return (
        select(row.c.restriction_id, func.count().label("rows"))
        .where(row.c[column] == run_id, ~counterpart(table, row, of_change, run_id))
        .group_by(row.c.restriction_id)
        .subquery()
    )


async def _sum(connection: AsyncConnection, query: Select[Any]) -> int:
    return int((await connection.execute(query)).scalar_one() or 0)
