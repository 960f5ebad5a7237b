"""What readers see as open, regardless of what unpublished runs have opened and closed."""

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, func, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.schema.tables import run


def unpublished_runs() -> Select[tuple[int]]:
    """The runs whose openings and closings readers do not see."""
    return select(run.c.run_id).where(run.c.publication_no.is_(None))


def open_as_published(table: Table) -> Select[tuple[int]]:
    """The person of each restriction of one area that readers see; one row per restriction."""
    return (
        select(table.c.person_id)
        .join(run, run.c.run_id == table.c.opened_run)
        .where(
            or_(table.c.closed_run.is_(None), table.c.closed_run.in_(unpublished_runs())),
            run.c.publication_no.is_not(None),
        )
    )


async def rows_and_persons(
    connection: AsyncConnection, *holders: Select[tuple[int]]
) -> tuple[int, int]:
    """How many rows there are, and how many distinct persons."""
    if not holders:
        return 0, 0
    found = union_all(*holders).subquery()
    row = (
        await connection.execute(
            select(func.count(), func.count(found.c.person_id.distinct())).select_from(found)
        )
    ).one()
    return row[0], row[1]


async def last_published(
    connection: AsyncConnection, *conditions: ColumnElement[bool]
) -> Row[Any] | None:
    """The last published run of those that meet the conditions."""
    found = await connection.execute(
        select(run)
        .where(run.c.publication_no.is_not(None), *conditions)
        .order_by(run.c.publication_no.desc())
        .limit(1)
    )
    return found.one_or_none()


async def is_anything_published(connection: AsyncConnection) -> bool:
    """Whether readers see any run, of whatever kind."""
    published = select(run.c.run_id).where(run.c.publication_no.is_not(None))
    return (await connection.execute(published.limit(1))).first() is not None
