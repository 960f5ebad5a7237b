"""The ledger of runs: starts, resumes and ends runs, and deletes old data.

Drafts of a run that is not open are garbage. Old rows of the access log are deleted. Closed
versions are deleted if the operator has configured it, and the change feed lists them. Current
state, runs and their facts are never deleted. Deletions run in bounded steps. Every write raises
``LeaseLostError`` if another holder took over.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from worker import __version__
from worker.core.area import AREAS, ResourceArea
from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import RunHandle, RunProgress
from worker.store.database import delete_securely, execute
from worker.store.persons import unpublished_run
from worker.store.runs.lease import Lease
from worker.store.schema.columns import TOTALS
from worker.store.schema.tables import (
    CHANGES,
    VERSIONS,
    access_log,
    change_feed,
    draft,
    draft_area,
    run,
)
from worker.views import UtcTime

PERSONS_PER_STEP: Final = 5_000
"""Number of persons for one transaction that deletes drafts."""
ROWS_PER_STEP: Final = 2_000
"""Number of old rows that one transaction deletes."""
_ACCESS_KEPT: Final = timedelta(days=730)
"""Retention of the access log. Questions about an access come up within two years. After that, the
log itself would be a risk."""
LAST_PUBLICATION_NO: Final = sa.select(
    sa.func.coalesce(sa.func.max(run.c.publication_no), 0)
).scalar_subquery()
"""The number of the last publication. 0 before the first one."""
_IS_OPEN: Final = run.c.status.in_(sorted(OPEN_STATUSES))


async def begin_run(
    lease: Lease,
    *,
    kind: RunKind,
    areas: Sequence[str],
    terms: str,
    continue_within: timedelta,
) -> RunHandle:
    """Resume the run that an earlier ``sync`` left open, or start a new one.

    A ``sync`` resumes an open ``sync`` over the same areas and under the same terms (``App.terms``)
    if it made progress within ``continue_within`` (see ``is_continuable``). A run that cannot be
    resumed is abandoned. A backfill leaves an open ``sync`` for the next ``sync``.
    """
    now = lease.database.runtime.now()
    for row in await lease.database.read(open_runs):
        if kind == RunKind.SYNC and is_continuable(row, areas, terms, continue_within, now):
            return await _continue(lease, row)
        # A backfill must not discard the night's reads of an interrupted sync.
        if kind == RunKind.SYNC or row.kind == RunKind.BACKFILL:
            # Its exit code and reason remain, because they show why its last attempt ended.
            await update_run(lease, row.run_id, status=RunStatus.ABANDONED, finished_at=now)
    return await lease.write(_begin, kind, areas, terms, now)


def is_continuable(
    row: sa.Row[Any],
    areas: Sequence[str],
    terms: str,
    continue_within: timedelta,
    now: datetime,
) -> bool:
    """Whether a ``sync`` over these areas resumes an open run.

    If the contract, PTS or ``sync.confirm`` has changed, it starts a new run instead: otherwise one
    publication would mix reads with different meanings.

    The number of attempts is not limited. A run is abandoned only after ``continue_within`` without
    progress.

    Args:
        row: the run, as returned by ``open_runs``.
        now: time of the worker's clock, like ``started_at`` and ``progressed_at``.
    """
    has_same_terms = row.kind == RunKind.SYNC and _areas(row) == tuple(areas) and row.terms == terms
    last_progress_at = row.progressed_at or row.started_at
    return has_same_terms and now - last_progress_at <= continue_within


async def open_runs(connection: AsyncConnection) -> Sequence[sa.Row[Any]]:
    """Runs that are neither published nor ended, latest first."""
    rows = await connection.execute(sa.select(run).where(_IS_OPEN).order_by(run.c.run_id.desc()))
    return rows.all()


async def update_run(lease: Lease, run_id: int, **values: Any) -> None:
    """Write columns of a run, unless it is published or has ended."""
    await lease.write(
        execute, sa.update(run).where(run.c.run_id == run_id, _IS_OPEN).values(**values)
    )


async def _continue(lease: Lease, row: sa.Row[Any]) -> RunHandle:
    attempt = row.attempts + 1
    # The end of the previous attempt is no longer the end of the run.
    cleared = {"exit_code": None, "reason": None, "finished_at": None}
    await update_run(lease, row.run_id, status=RunStatus.RUNNING, attempts=attempt, **cleared)
    return _handle(row, attempt)


async def _begin(
    connection: AsyncConnection, kind: RunKind, areas: Sequence[str], terms: str, now: datetime
) -> RunHandle:
    # If a commit's acknowledgement was lost, the retry finds its row here.
    rows = await connection.execute(
        sa.select(run).where(
            run.c.kind == kind, run.c.started_at == now, run.c.status == RunStatus.RUNNING
        )
    )
    row = rows.one_or_none()
    if row is None:
        added = await connection.execute(
            sa.insert(run)
            .values(
                kind=kind,
                status=RunStatus.RUNNING,
                areas=msgspec.json.encode(list(areas)).decode(),
                terms=terms,
                started_at=now,
                worker_version=__version__,
            )
            .returning(run)
        )
        row = added.one()
    return _handle(row, 1)


def _areas(row: sa.Row[Any]) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(row.areas))


def _handle(row: sa.Row[Any], attempt: int) -> RunHandle:
    """The handle for this attempt at a run."""
    return RunHandle(
        run_id=row.run_id,
        attempt=attempt,
        kind=RunKind(row.kind),
        areas=_areas(row),
        started_at=row.started_at,
        is_continued=attempt > 1,
        requests_before=row.requests,
        retries_before=row.retries,
    )


async def delete_garbage(lease: Lease) -> None:
    """Delete the drafts of all runs that are not open, except failures that still count.

    If an error interrupts it, the next run deletes the rest.
    """
    latest = await lease.database.read(unpublished_run)
    for run_id in await lease.database.read(_ended_with_drafts):
        # In this order, because a draft stays as long as a failed read of its person.
        for table in (*CHANGES.values(), draft_area, draft):
            step = _delete_step(table, run_id, keeps_failures=run_id == latest)
            while await lease.write(execute, step):
                pass


def _delete_step(table: sa.Table, run_id: int, *, keeps_failures: bool) -> sa.Delete:
    """Delete the rows of some persons from a table of drafts.

    Args:
        keeps_failures: keep failed reads, and the drafts of their persons.
    """
    is_garbage = table.c.run_id == run_id
    if keeps_failures and table is draft_area:
        # Not by state: if a second read failed, the state is that of the first read.
        is_garbage &= table.c.failure_kind.is_(None)
    elif keeps_failures and table is draft:
        is_garbage &= ~sa.exists().where(
            draft_area.c.run_id == run_id, draft_area.c.person_id == draft.c.person_id
        )
    # In steps, because each transaction locks the lease's row, and on SQLite all writers.
    persons = sa.select(table.c.person_id).where(is_garbage).order_by(table.c.person_id).distinct()
    in_step = persons.limit(PERSONS_PER_STEP)
    return sa.delete(table).where(is_garbage, table.c.person_id.in_(in_step))


async def _ended_with_drafts(connection: AsyncConnection) -> Sequence[int]:
    # With EXISTS, PostgreSQL may read a million drafts of one run again for each other run.
    drafts = sa.union(
        *(sa.select(table.c.run_id) for table in (draft, draft_area, *CHANGES.values()))
    )
    ended = (
        sa.select(run.c.run_id).where(~_IS_OPEN, run.c.run_id.in_(drafts)).order_by(run.c.run_id)
    )
    return (await connection.execute(ended)).scalars().all()


class Purged(NamedTuple):
    """The numbers of deleted rows."""

    versions: int = 0
    accesses: int = 0


async def purge(
    lease: Lease,
    *,
    versions: timedelta | None,
    last_sync_at: datetime | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Purged:
    """Delete old rows of the access log, and old versions. A later call resumes.

    Afterwards, history and ``explain --as-of`` are complete only for times after the purged ones.

    Args:
        versions: retention of versions after the publication that closed them. None: for ever.
        last_sync_at: publication time of the previous sync. Ages are measured from it, or from now
            if now is earlier, so that a clock that is far ahead for one night deletes nothing.
        is_stopping: checked between transactions. The next call deletes the rest.
    """
    now = await lease.database.read(lease.database.now)
    reference = min(now, last_sync_at or now)

    async def repeat(*statements: sa.Executable) -> int:
        purged = 0
        while not is_stopping() and (in_step := await lease.write(_purge_step, statements)):
            purged += in_step
        return purged

    purged = 0
    if versions is not None:
        for area in AREAS:
            old = _old_versions(area, reference - versions)
            # The feed first: it reads the versions that the deletion then removes.
            purged += await repeat(_feed_purge(area, old, now), _purge(VERSIONS[area.name], old))
    old_accesses = _old_accesses(reference - _ACCESS_KEPT)
    return Purged(purged, await repeat(_purge(access_log, old_accesses)))


async def _purge_step(connection: AsyncConnection, statements: Sequence[sa.Executable]) -> int:
    """Execute these statements, and return the number of rows that the last one deletes."""
    # Otherwise SQLite leaves the deleted bytes in free pages of its file.
    await delete_securely(connection)
    deleted = 0
    for statement in statements:
        deleted = await execute(connection, statement)
    return deleted


def _old_versions(area: ResourceArea, before: datetime) -> sa.Select[tuple[int]]:
    """Up to ``ROWS_PER_STEP`` versions that were closed by a publication before this time."""
    version = VERSIONS[area.name].c
    # By publication number, because no index has the time.
    last = sa.select(sa.func.max(run.c.publication_no)).where(run.c.published_at < before)
    return (
        sa.select(version.version_id)
        .where(version.closed_no <= last.scalar_subquery())
        .order_by(version.version_id)
        .limit(ROWS_PER_STEP)
    )


def _old_accesses(before: datetime) -> sa.Select[tuple[int]]:
    """Up to ``ROWS_PER_STEP`` rows of the access log from before this time."""
    key = access_log.c.access_id
    return (
        sa.select(key).where(access_log.c.accessed_at < before).order_by(key).limit(ROWS_PER_STEP)
    )


def _feed_purge(area: ResourceArea, old: sa.Select[tuple[int]], now: datetime) -> sa.Insert:
    """Announce in the feed which versions will be deleted, so that copies delete them too."""
    version = VERSIONS[area.name].c
    fixed = sa.literal(now, UtcTime), sa.literal("purge"), sa.literal(area.name)
    rows = sa.select(LAST_PUBLICATION_NO, *fixed, version.version_id, version.person_id).where(
        version.version_id.in_(old)
    )
    names = ["publication_no", "happened_at", "op", "area", "version_id", "person_id"]
    return sa.insert(change_feed).from_select(names, rows)


def _purge(table: sa.Table, old: sa.Select[tuple[int]]) -> sa.Delete:
    (key,) = table.primary_key
    return sa.delete(table).where(key.in_(old))


def counters_so_far(handle: RunHandle, progress: RunProgress) -> dict[str, int]:
    """The counters of an unpublished run.

    Requests are summed over all attempts, except attempts that were killed.
    """
    # A sync skips persons read by an earlier attempt, so they are complete. A backfill skips
    # persons outside its choice.
    before = progress.persons_skipped if handle.kind == RunKind.SYNC else 0
    complete = progress.persons_complete + before
    return dict.fromkeys(TOTALS, 0) | {
        "persons_total": complete + progress.persons_with_gaps,
        "persons_complete": complete,
        "persons_stale": progress.persons_with_gaps,
        "persons_not_sent": progress.persons_not_sent,
        "roster_faults": progress.roster_faults,
        "requests": handle.requests_before + progress.requests,
        "retries": handle.retries_before + progress.retries,
    }
