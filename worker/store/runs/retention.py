"""Deletes closed versions, old runs and old rows of the access log, if the operator chose so.

Current state is never deleted, and neither is a published run with its facts. Afterwards history
and ``explain --as-of`` are complete only for times after the purged ones. The change feed lists the
purged versions.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import RunStatus
from worker.core.value import Value
from worker.store.database import Database, delete_securely
from worker.store.queries.published import last_publication_no
from worker.store.runs.lease import Lease
from worker.store.schema.tables import CHANGES, VERSIONS, access_log, change_feed, draft, run

_Work: TypeAlias = Callable[..., Awaitable[int]]


class RetentionRules(Value, frozen=True, kw_only=True):
    """How long rows are kept; None: for ever.

    Attributes:
        versions: closed versions, from the publication that closed them.
        runs: runs that were not published, from their end.
        access_log: rows of the access log; at least ``access.KEPT_AT_LEAST``.
        rows_per_step: rows per transaction.
    """

    versions: timedelta | None = None
    runs: timedelta | None = None
    access_log: timedelta | None = None
    rows_per_step: int = 2_000


class Purged(Value, frozen=True, kw_only=True):
    """The numbers of deleted rows."""

    versions: int = 0
    runs: int = 0
    accesses: int = 0


async def purge(
    lease: Lease,
    rules: RetentionRules,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Purged:
    """Delete what is older than the rules, in bounded transactions; a later call continues.

    Args:
        is_stopping: checked between transactions; the rest waits for the next call.

    Raises:
        LeaseLostError: another holder took over.
        UnavailableError: the database cannot be used after all retries.
    """
    database = lease.database
    now, first_access_at = await database.read(partial(_now_and_first_access, database))
    limit = rules.rows_per_step
    versions = runs = accesses = 0

    async def all_of(work: _Work) -> int:
        async def step(connection: AsyncConnection) -> int:
            await delete_securely(connection)
            return await work(connection, limit=limit)

        gone = 0
        while not is_stopping():
            in_step = await lease.write(step)
            gone += in_step
            if in_step < limit:
                break
        return gone

    if rules.versions is not None:
        for area in VERSIONS:
            before = now - rules.versions
            versions += await all_of(partial(_delete_versions, area=area, now=now, before=before))
    if rules.runs is not None:
        runs = await all_of(partial(_delete_runs, before=now - rules.runs))
    if rules.access_log is not None and first_access_at is not None:
        before = now - rules.access_log
        if first_access_at < before:
            accesses = await all_of(partial(_delete_accesses, before=before))
    return Purged(versions=versions, runs=runs, accesses=accesses)


async def _now_and_first_access(
    database: Database, connection: AsyncConnection
) -> tuple[datetime, datetime | None]:
    first = await connection.execute(select(func.min(access_log.c.accessed_at)))
    return await database.now(connection), first.scalar_one()


async def _delete_versions(
    connection: AsyncConnection, area: str, now: datetime, before: datetime, limit: int
) -> int:
    """Delete versions that a publication closed before that time; return their number."""
    table = VERSIONS[area]
    last = select(func.max(run.c.publication_no)).where(run.c.published_at < before)
    found = await connection.execute(
        select(table.c.version_id, table.c.person_id)
        .where(table.c.closed_no <= last.scalar_subquery())
        .limit(limit)
    )
    rows = found.mappings().all()
    if rows:
        fed = {
            "publication_no": await last_publication_no(connection),
            "happened_at": now,
            "op": "purge",
            "area": area,
        }
        await connection.execute(insert(change_feed), [fed | dict(row) for row in rows])
        ids = [row["version_id"] for row in rows]
        await connection.execute(delete(table).where(table.c.version_id.in_(ids)))
    return len(rows)


async def _delete_accesses(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete rows of the access log that are older than that time; return their number."""
    found = await connection.execute(
        select(access_log.c.access_id)
        .where(access_log.c.accessed_at < before)
        .order_by(access_log.c.access_id)
        .limit(limit)
    )
    rows = list(found.scalars())
    if rows:
        await connection.execute(delete(access_log).where(access_log.c.access_id.in_(rows)))
    return len(rows)


async def _delete_runs(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete runs that ended unpublished before that time, but for drafts that are still there."""
    ended = (RunStatus.WITHHELD.value, RunStatus.ABANDONED.value)
    has_drafts = (
        select(table.c.run_id).where(table.c.run_id == run.c.run_id).exists()
        for table in (draft, *CHANGES.values())
    )
    found = await connection.execute(
        select(run.c.run_id)
        .where(run.c.status.in_(ended), run.c.finished_at < before, ~or_(*has_drafts))
        .order_by(run.c.run_id)
        .limit(limit)
    )
    runs = list(found.scalars())
    if runs:
        await connection.execute(delete(run).where(run.c.run_id.in_(runs)))
    return len(runs)
