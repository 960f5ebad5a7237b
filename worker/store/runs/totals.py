"""The totals of a run."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import FromClause

from worker.store.runs.run_versions import RunVersions
from worker.store.schema.tables import TOTALS, alias_of, attempt, person_area


async def run_totals(
    connection: AsyncConnection, run_id: int, areas: Sequence[RunVersions]
) -> dict[str, int]:
    """The ledger's totals, counted from the rows so that they add up by construction."""
    totals = dict.fromkeys(TOTALS, 0) | await _proof_totals(connection, run_id)
    for versions in areas:
        await _add_row_totals(connection, versions, totals)
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
    """Count each added or removed row of one area as opened, changed, moved or closed.

    For each restriction, as many rows moved as were added for one person and removed from another.
    If nothing was removed, every added row is new: true on most nights, and on the first.
    """
    table, run_id = versions.table, versions.run_id
    opened_rows = select(func.count()).select_from(table).where(table.c.opened_run == run_id)
    opened = await _sum(connection, opened_rows)
    closed = select(table.c.version_id).where(table.c.closed_run == run_id)
    if (await connection.execute(closed.limit(1))).first() is None:
        totals["rows_opened"] += opened
        return
    row = alias_of(table, "row")
    added = _by_restriction(row, versions.is_added(row))
    removed = _by_restriction(row, versions.is_removed(row))
    least = case((added.c.rows < removed.c.rows, added.c.rows), else_=removed.c.rows)
    pairs = added.join(removed, added.c.restriction_id == removed.c.restriction_id)
    count_moved = select(func.sum(least)).select_from(pairs)
    moved = await _sum(connection, count_moved) if versions.may_move else 0
    all_added = await _sum(connection, select(func.sum(added.c.rows)))
    totals["rows_moved"] += moved
    totals["rows_opened"] += all_added - moved
    totals["rows_changed"] += opened - all_added
    totals["rows_closed"] += await _sum(connection, select(func.sum(removed.c.rows))) - moved


def _by_restriction(row: FromClause, condition: ColumnElement[bool]) -> Subquery:
    """How many such rows each restriction has."""
    return (
        select(row.c.restriction_id, func.count().label("rows"))
        .where(condition)
        .group_by(row.c.restriction_id)
        .subquery()
    )


async def _sum(connection: AsyncConnection, query: Select[Any]) -> int:
    return int((await connection.execute(query)).scalar_one() or 0)
