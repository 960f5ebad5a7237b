"""Reads the published state for the metrics."""

from sqlalchemy import case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import RunKind, RunStatus
from worker.core.run import Standing
from worker.utc_time import UtcTime
from worker.views import FRESHNESS, RUN, Read, begin_snapshot


async def read_standing(read: Read) -> Standing:
    """Read the published state.

    Raises:
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> Standing:
        await begin_snapshot(connection)
        run, fresh = RUN.table(), FRESHNESS.table()
        success, published = (
            await connection.execute(
                select(
                    func.max(case((run.c.exit_code == 0, run.c.published_at)), type_=UtcTime),
                    func.max(run.c.published_at, type_=UtcTime),
                ).where(run.c.status == RunStatus.PUBLISHED, run.c.kind == RunKind.SYNC)
            )
        ).one()
        stale = select(func.count(fresh.c.person_key.distinct())).where(fresh.c.is_stale == true())
        return Standing(
            last_success_at=success,
            last_published_at=published,
            persons_stale=(await connection.execute(stale)).scalar_one(),
        )

    return await read(work)
