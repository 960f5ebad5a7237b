"""The change feed: what each publication changed, in an order that readers follow by one number.

Its rows hold numbers only. The view joins keys and labels from the rows that they point to, so that
nothing of a person is left once those rows are erased.
"""

from datetime import datetime

from sqlalchemy import Connection, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import ScalarSelect, Select

from worker.areas import AREAS
from worker.store.runs.statements import FEED_COLUMNS, PublishedRun, closed_areas_sql, feed_sql
from worker.store.schema.fact_tables import change_feed, publication
from worker.utc_time import UtcTime


def write_feed(connection: Connection, published: PublishedRun) -> int:
    """Write what a publication changed; return the number after which its rows come."""
    last: int = connection.execute(
        select(func.coalesce(func.max(change_feed.c.seq), 0))
    ).scalar_one()
    closed = connection.exec_driver_sql(closed_areas_sql(published.run_id)).one()
    closing = {area.name for area, is_closed in zip(AREAS, closed, strict=True) if is_closed}
    connection.exec_driver_sql(feed_sql(published, closing))
    return last


async def feed_erased_person(connection: AsyncConnection, person_id: int, at: datetime) -> None:
    """Add to the feed that a person was erased."""
    await connection.execute(
        insert(change_feed).values(
            publication_no=_last(), happened_at=at, op="erase", person_id=person_id
        )
    )


async def feed_versions(
    connection: AsyncConnection, op: str, area: str, rows: Select[tuple[int, int]], at: datetime
) -> None:
    """Add to the feed that versions are purged, or that an erased person was masked in them.

    Args:
        connection: in the transaction that does it, before they are deleted.
        op: ``purge`` or ``erase``.
        rows: their ``version_id`` and ``person_id``.
    """
    version_id, person_id = rows.subquery().c
    await connection.execute(
        insert(change_feed).from_select(
            FEED_COLUMNS,
            select(
                _last(),
                literal(at, UtcTime()),
                literal(op),
                literal(area),
                version_id,
                person_id,
            ),
        )
    )


async def last_publication_no(connection: AsyncConnection) -> int:
    """The number of the last publication; 0 before the first one."""
    number: int = (await connection.execute(select(_last()))).scalar_one()
    return number


def _last() -> ScalarSelect[int]:
    """See ``last_publication_no``."""
    return select(func.coalesce(func.max(publication.c.publication_no), 0)).scalar_subquery()
