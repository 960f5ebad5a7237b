"""The last publication: what readers see."""

from typing import Any

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.schema.tables import run


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


async def last_publication_no(connection: AsyncConnection) -> int:
    """The number of the last publication; 0 before the first one."""
    last = select(func.coalesce(func.max(run.c.publication_no), 0))
    number: int = (await connection.execute(last)).scalar_one()
    return number
