"""What is added to the change feed outside publications: erased persons and purged versions.

Its rows hold numbers only. The view joins keys and labels from the rows that they point to, so that
nothing of a person is left once those rows are erased.
"""

from datetime import datetime

from sqlalchemy import func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import ScalarSelect, Select

from worker.store.schema.fact_tables import change_feed
from worker.store.schema.tables import run
from worker.utc_time import UtcTime


async def feed_erased_person(connection: AsyncConnection, person_id: int, at: datetime) -> None:
    """Add to the feed that a person was erased."""
    await connection.execute(
        insert(change_feed).values(
            publication_no=_last(), happened_at=at, op="erase", person_id=person_id
        )
    )


async def feed_purged_versions(
    connection: AsyncConnection, area: str, rows: Select[tuple[int, int]], at: datetime
) -> None:
    """Add to the feed that versions are purged, in the transaction that deletes them.

    Args:
        rows: their ``version_id`` and ``person_id``.
    """
    version_id, person_id = rows.subquery().c
    values = (_last(), literal(at, UtcTime()), literal("purge"), literal(area))
    await connection.execute(
        insert(change_feed).from_select(
            ("publication_no", "happened_at", "op", "area", "version_id", "person_id"),
            select(*values, version_id, person_id),
        )
    )


def _last() -> ScalarSelect[int]:
    return select(func.coalesce(func.max(run.c.publication_no), 0)).scalar_subquery()
