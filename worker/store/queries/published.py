"""The last publication: what readers see."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.store.schema.tables import run


class Publication(Value, frozen=True, kw_only=True):
    """A published run, full or not."""

    publication_no: int
    run_id: int
    kind: str
    published_at: datetime


async def publication_at(
    connection: AsyncConnection, at: datetime | None = None
) -> Publication | None:
    """The publication that readers saw at this time; without one, that they see."""
    row = await last_published(connection, *([run.c.published_at <= at] if at else []))
    if row is None:
        return None
    return Publication(
        publication_no=row.publication_no,
        run_id=row.run_id,
        kind=row.kind,
        published_at=row.published_at,
    )


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
