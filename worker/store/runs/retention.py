"""Deletes closed versions, old runs and old rows of the access log, if the operator chose so.

Current state is never deleted. Afterwards history and ``explain --as-of`` are complete only for
times after the purged ones. The facts of each publication stay, and with them ``report_daily`` and
``report_daily_change``. The change feed lists the purged versions.
"""

import math
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, Select, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.core.model import OPEN_STATUSES
from worker.core.value import Value
from worker.store.database import Database
from worker.store.dialects import delete_securely, member, members
from worker.store.runs.feed import feed_versions
from worker.store.runs.labels import clear_old_labels
from worker.store.runs.lease import Lease
from worker.store.schema.tables import VERSIONS, access_log, attempt, metadata, run

RUN_STEPS_MAX: Final = 10
"""The remaining runs wait for the next publication."""


_Work: TypeAlias = Callable[..., Awaitable[int]]


class RetentionRules(Value, frozen=True, kw_only=True):
    """How long rows are kept; None: for ever.

    Attributes:
        versions: closed versions, from the publication that closed them, and the labels of that
            time.
        runs: runs that no row refers to, from their end.
        access_log: rows of the access log; at least ``access.KEPT_AT_LEAST``.
        versions_per_step: versions, labels or accesses per transaction.
        runs_per_step: runs per transaction; for each, all tables that may refer to it are searched.
    """

    versions: timedelta | None = None
    runs: timedelta | None = None
    access_log: timedelta | None = None
    versions_per_step: int = 2_000
    runs_per_step: int = 20


class Purged(Value, frozen=True, kw_only=True):
    """The numbers of deleted rows."""

    versions: int = 0
    labels: int = 0
    runs: int = 0
    accesses: int = 0


async def purge(
    lease: Lease,
    rules: RetentionRules,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Purged:
    """Delete what is older than the rules, in bounded transactions; a later call continues.

    Versions are deleted first, because they refer to most of the old runs.

    Args:
        is_stopping: checked between transactions; the rest waits for the next call.

    Raises:
        LeaseLostError: another holder took over.
        UnavailableError: the database cannot be used after all retries.
    """
    database = lease.database
    now, first_access_at = await database.read(partial(_now_and_first_access, database))
    limit = rules.versions_per_step
    versions = labels = runs = accesses = 0

    async def all_of(work: _Work, limit: int, steps_max: float = math.inf) -> int:
        """Take steps until one finds fewer rows than its limit; return the number of rows."""

        async def step(connection: AsyncConnection) -> int:
            await delete_securely(connection)
            return await work(connection, limit=limit)

        gone = steps = 0
        while steps < steps_max and not is_stopping():
            in_step = await lease.write(step)
            gone, steps = gone + in_step, steps + 1
            if in_step < limit:
                break
        return gone

    if rules.versions is not None:
        for area in VERSIONS:
            work = partial(_delete_versions, area=area, now=now, age=rules.versions)
            versions += await all_of(work, limit)
        labels = await all_of(partial(clear_old_labels, before=now - rules.versions), limit)
    if rules.runs is not None:
        before = now - rules.runs
        runs = await all_of(
            partial(_delete_runs, before=before), rules.runs_per_step, RUN_STEPS_MAX
        )
    if rules.access_log is not None and first_access_at is not None:
        before = now - rules.access_log
        if first_access_at < before:
            accesses = await all_of(partial(_delete_accesses, before=before), limit)
    return Purged(versions=versions, labels=labels, runs=runs, accesses=accesses)


async def _now_and_first_access(
    database: Database, connection: AsyncConnection
) -> tuple[datetime, datetime | None]:
    first = await connection.execute(select(func.min(access_log.c.accessed_at)))
    return await database.now(connection), first.scalar_one()


async def _delete_versions(
    connection: AsyncConnection, area: str, now: datetime, age: timedelta, limit: int
) -> int:
    """Delete versions that a publication closed at least that long ago; return their number."""
    table, before = VERSIONS[area], now - age
    ended = select(run.c.run_id).where(
        run.c.publication_no.is_not(None),
        run.c.published_at < before,
    )
    found = await connection.execute(
        select(table.c.version_id).where(table.c.closed_run.in_(ended)).limit(limit)
    )
    rows = list(found.scalars())
    if rows:
        purged = select(table.c.version_id, table.c.person_id).where(table.c.version_id.in_(rows))
        await feed_versions(connection, "purge", area, purged, now)
        await connection.execute(
            delete(table).where(member(table.c.version_id)),
            members(rows),
        )
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
        await connection.execute(
            delete(access_log).where(member(access_log.c.access_id)),
            members(rows),
        )
    return len(rows)


async def _delete_runs(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete runs that ended before that time and that no row refers to, with their attempts."""
    found = await connection.execute(
        select(run.c.run_id)
        .where(
            run.c.status.not_in(sorted(OPEN_STATUSES)),
            run.c.finished_at < before,
            or_(run.c.publication_no.is_(None), run.c.publication_no.not_in(_last_numbers())),
            *_unreferred(),
        )
        .order_by(run.c.run_id)
        .limit(limit)
    )
    runs = list(found.scalars())
    if runs:
        listed = members(runs)
        await connection.execute(delete(attempt).where(member(attempt.c.run_id)), listed)
        await connection.execute(delete(run).where(member(run.c.run_id)), listed)
    return len(runs)


def _last_numbers() -> Select[tuple[int]]:
    """The last publication of each kind and set of areas: staleness is measured against them."""
    return (
        select(func.max(run.c.publication_no))
        .where(run.c.publication_no.is_not(None))
        .group_by(run.c.kind, run.c.areas)
    )


def _unreferred() -> Iterator[ColumnElement[bool]]:
    """Conditions: no row refers to the run or to one of its attempts.

    Indexed columns are searched for each run; the others are read once for all runs.
    """
    scanned = []
    for column in _naming(run.c.run_id):
        if column.table is attempt:
            continue
        if any(next(iter(index.columns)) is column for index in column.table.indexes):
            yield ~select(column).where(column == run.c.run_id).exists()
        else:
            scanned.append(select(column).where(column.is_not(None)).distinct())
    for column in _naming(attempt.c.attempt_id):
        named = select(column).where(column.is_not(None)).distinct()
        scanned.append(select(attempt.c.run_id).where(attempt.c.attempt_id.in_(named)))
    yield from (run.c.run_id.not_in(values) for values in scanned)


def _naming(target: Column[Any]) -> Iterator[Column[Any]]:
    """Every column of the schema that is a foreign key to that one."""
    for table in metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column is target:
                yield key.parent
