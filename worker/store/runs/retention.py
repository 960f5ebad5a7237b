"""Deletes closed versions, old runs and old rows of the access log, if the operator chose so.

Current state is never deleted, and neither is a published run with its facts. Afterwards history
and ``explain --as-of`` are complete only for times after the purged ones. The change feed lists the
purged versions.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import RunStatus
from worker.core.value import Value
from worker.store.database import delete_securely
from worker.store.queries.published import last_publication_no
from worker.store.runs.lease import Lease
from worker.store.schema.tables import CHANGES, VERSIONS, access_log, change_feed, draft, run
from worker.utc_time import UtcTime


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
    now = await lease.database.read(lease.database.now)

    async def all_of(table: Table, condition: ColumnElement[bool], area: str | None = None) -> int:
        async def step(connection: AsyncConnection) -> int:
            await delete_securely(connection)
            (key,) = table.primary_key
            found = await connection.execute(
                select(key).where(condition).order_by(key).limit(rules.rows_per_step)
            )
            ids = found.scalars().all()
            if area is not None:
                await _feed(connection, area, ids, now)
            await connection.execute(delete(table).where(key.in_(ids)))
            return len(ids)

        gone = 0
        while not is_stopping():
            in_step = await lease.write(step)
            gone += in_step
            if in_step < rules.rows_per_step:
                break
        return gone

    versions = runs = accesses = 0
    if rules.versions is not None:
        for area, table in VERSIONS.items():
            closed = _closed_before(table, now - rules.versions)
            versions += await all_of(table, closed, area)
    if rules.runs is not None:
        runs = await all_of(run, _ended_before(now - rules.runs))
    if rules.access_log is not None:
        accesses = await all_of(access_log, access_log.c.accessed_at < now - rules.access_log)
    return Purged(versions=versions, runs=runs, accesses=accesses)


def _closed_before(versions: Table, before: datetime) -> ColumnElement[bool]:
    """That a publication has closed a version before that time."""
    last = select(func.max(run.c.publication_no)).where(run.c.published_at < before)
    return versions.c.closed_no <= last.scalar_subquery()


def _ended_before(before: datetime) -> ColumnElement[bool]:
    """That a run ended unpublished before that time, and no drafts of it are left."""
    ended = (RunStatus.WITHHELD.value, RunStatus.ABANDONED.value)
    has_drafts = (
        select(table.c.run_id).where(table.c.run_id == run.c.run_id).exists()
        for table in (draft, *CHANGES.values())
    )
    return and_(run.c.status.in_(ended), run.c.finished_at < before, ~or_(*has_drafts))


async def _feed(
    connection: AsyncConnection, area: str, versions: Sequence[int], at: datetime
) -> None:
    """Add to the feed that versions are purged."""
    table = VERSIONS[area].c
    number = await last_publication_no(connection)
    values = (literal(number), literal(at, UtcTime()), literal("purge"), literal(area))
    await connection.execute(
        insert(change_feed).from_select(
            ("publication_no", "happened_at", "op", "area", "version_id", "person_id"),
            select(*values, table.version_id, table.person_id).where(
                table.version_id.in_(versions)
            ),
        )
    )
