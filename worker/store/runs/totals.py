"""The totals of a run."""

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.store.runs.run_versions import RunVersions, versions_of_run
from worker.store.schema.tables import TOTALS, attempt, person_area


async def run_totals(connection: AsyncConnection, run_id: int) -> dict[str, int]:
    """The ledger's totals, counted from the rows so that they add up by construction."""
    totals = dict.fromkeys(TOTALS, 0) | await _proof_totals(connection, run_id)
    for versions in versions_of_run(run_id):
        await _add_row_totals(connection, versions, totals)
    written = totals["rows_opened"] + totals["rows_changed"]
    totals["rows_unchanged"] = totals["rows_read"] - written
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


async def _proof_totals(connection: AsyncConnection, run_id: int) -> dict[str, int]:
    """Persons, areas and rows that were read."""
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
                func.count().filter(per_person.c.areas == per_person.c.complete).label("confirmed"),
                func.coalesce(func.sum(per_person.c.areas), 0).label("areas"),
                func.coalesce(func.sum(per_person.c.complete), 0).label("complete"),
                func.coalesce(func.sum(per_person.c.rows), 0).label("rows"),
            ).select_from(per_person)
        )
    ).one()
    return {
        "persons_total": row.persons,
        "persons_complete": row.confirmed,
        "persons_stale": row.persons - row.confirmed,
        "areas_complete": int(row.complete),
        "areas_failed": int(row.areas) - int(row.complete),
        "rows_read": int(row.rows),
    }


async def _add_row_totals(
    connection: AsyncConnection, versions: RunVersions, totals: dict[str, int]
) -> None:
    """Count each row of one area that came or went as opened, changed or closed.

    If nothing was closed, every row that came is new: true on most nights, and on the first.
    """
    table, run_id = versions.table, versions.run_id
    opened = await _count(connection, table, table.c.opened_run == run_id)
    closed = select(table.c.version_id).where(table.c.closed_run == run_id)
    if (await connection.execute(closed.limit(1))).first() is None:
        totals["rows_opened"] += opened
        return
    added = await _count(connection, table, versions.is_added(table))
    totals["rows_opened"] += added
    totals["rows_changed"] += opened - added
    totals["rows_closed"] += await _count(connection, table, versions.is_removed(table))


async def _count(connection: AsyncConnection, table: Table, condition: ColumnElement[bool]) -> int:
    rows = select(func.count()).select_from(table).where(condition)
    return int((await connection.execute(rows)).scalar_one())
