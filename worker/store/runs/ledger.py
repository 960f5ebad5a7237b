"""The ledger of runs: begin, continue, end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker import __version__
from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import RunHandle, RunProgress
from worker.errors import ExitCode
from worker.store.database import execute
from worker.store.queries.published import open_as_published, rows_and_persons
from worker.store.runs.lease import Lease
from worker.store.runs.process_identity import Holder
from worker.store.runs.undo import undo_run
from worker.store.schema.tables import VERSIONS, attempt, person, person_area, run


async def begin_run(
    lease: Lease,
    *,
    kind: RunKind,
    areas: Sequence[str],
    contract: str,
    continue_within: timedelta,
) -> RunHandle:
    """Continue the run that an earlier ``sync`` left open, or begin a new one.

    A ``sync`` continues an open ``sync`` over the same areas and under the same contract
    (``core.contract.fingerprints``) that made progress within ``continue_within``, see
    ``is_continuable``. A run that cannot be continued is undone and marked as abandoned; a backfill
    leaves an open ``sync`` for the next ``sync``.

    Raises:
        LeaseLostError: another holder took over.
    """
    now = lease.database.runtime.now()
    for row in await lease.database.read(open_runs):
        if kind == RunKind.SYNC and is_continuable(row, areas, contract, continue_within, now):
            return await _continue(lease, row)
        if kind == RunKind.SYNC or row.kind == RunKind.BACKFILL:
            await undo_run(lease, row.run_id, status=RunStatus.ABANDONED)
    return await _begin(lease, kind, areas, contract)


def is_continuable(
    row: Row[Any],
    areas: Sequence[str],
    contract: str,
    continue_within: timedelta,
    now: datetime,
) -> bool:
    """Whether a ``sync`` over these areas continues an open run.

    Under another contract it does not: what was read would mean two things in one publication.

    A run may need many attempts: it is continued as long as it makes progress, and abandoned when
    it makes none, however often it is started.

    Args:
        row: the run, as returned by ``open_runs``.
        now: from the worker's clock, like ``started_at`` and ``progressed_at``.
    """
    is_same = row.kind == RunKind.SYNC and _areas(row) == tuple(areas)
    is_same = is_same and row.contract == contract
    return is_same and now - row.progressed_at <= continue_within


def _last_progress() -> ColumnElement[datetime]:
    """When a run last stored a complete read; before the first one, when it started."""
    progressed = (
        select(func.max(attempt.c.progressed_at))
        .where(attempt.c.run_id == run.c.run_id)
        .correlate(run)
        .scalar_subquery()
    )
    return func.coalesce(progressed, run.c.started_at).label("progressed_at")


async def open_runs(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Runs that are neither published nor undone, latest first, with ``progressed_at``."""
    found = await connection.execute(
        select(run, _last_progress())
        .where(run.c.status.in_(sorted(OPEN_STATUSES)))
        .order_by(run.c.run_id.desc())
    )
    return found.all()


async def interrupt_run(
    lease: Lease, handle: RunHandle, *, exit_code: ExitCode, reason: str
) -> None:
    """Leave the run open for the next one to continue.

    Raises:
        LeaseLostError: another holder took over.
    """
    await lease.write(
        execute,
        update(run)
        .where(run.c.run_id == handle.run_id, run.c.status.in_(sorted(OPEN_STATUSES)))
        .values(
            status=RunStatus.INTERRUPTED,
            exit_code=exit_code,
            reason=reason,
            finished_at=lease.database.runtime.now(),
        ),
    )


async def end_attempt(
    lease: Lease,
    handle: RunHandle,
    *,
    exit_code: ExitCode,
    progress: RunProgress,
) -> None:
    """Record how this run attempt ended, its requests and retries.

    Raises:
        LeaseLostError: another holder took over.
    """
    await lease.write(
        update_attempt,
        handle,
        ended_at=lease.database.runtime.now(),
        exit_code=exit_code,
        **counts_of(progress),
    )


async def update_attempt(connection: AsyncConnection, handle: RunHandle, /, **values: Any) -> None:
    """Set columns of a run attempt."""
    await connection.execute(
        update(attempt).where(attempt.c.attempt_id == handle.attempt_id).values(values)
    )


def counts_of(progress: RunProgress) -> dict[str, int]:
    """What the ledger keeps of a run attempt's progress, by column."""
    return {"requests": progress.requests, "retries": progress.retries}


def _areas(row: Row[Any]) -> tuple[str, ...]:
    return tuple(orjson.loads(row.areas))


async def _continue(lease: Lease, row: Row[Any]) -> RunHandle:
    async def work(connection: AsyncConnection) -> int:
        await connection.execute(
            update(run)
            .where(run.c.run_id == row.run_id)
            .values(status=RunStatus.RUNNING, exit_code=None, reason=None, finished_at=None)
        )
        now = lease.database.runtime.now()
        return await _add_attempt(connection, row.run_id, now, lease.holder)

    return _handle(row, await lease.write(work), is_continued=True)


async def _begin(lease: Lease, kind: RunKind, areas: Sequence[str], contract: str) -> RunHandle:
    now = lease.database.runtime.now()

    async def work(connection: AsyncConnection) -> RunHandle:
        committed = await _committed_before(connection, kind, now)
        if committed is not None:
            return committed
        row = await _add_run(connection, kind, areas, contract, now)
        return _handle(row, await _add_attempt(connection, row.run_id, now, lease.holder))

    return await lease.write(work)


async def _committed_before(
    connection: AsyncConnection, kind: RunKind, started_at: datetime
) -> RunHandle | None:
    """The run that this call began already, if the commit's acknowledgement was lost."""
    row = (
        await connection.execute(
            select(run, attempt.c.attempt_id)
            .join(attempt, attempt.c.run_id == run.c.run_id)
            .where(
                run.c.kind == kind,
                run.c.started_at == started_at,
                run.c.status == RunStatus.RUNNING,
            )
        )
    ).one_or_none()
    return None if row is None else _handle(row, row.attempt_id)


def _handle(row: Row[Any], attempt_id: int, *, is_continued: bool = False) -> RunHandle:
    """The handle for this attempt at a run."""
    return RunHandle(
        run_id=row.run_id,
        attempt_id=attempt_id,
        kind=RunKind(row.kind),
        areas=_areas(row),
        started_at=row.started_at,
        is_continued=is_continued,
        open_before=row.open_before,
        holders_before=row.holders_before,
        persons_before=row.persons_before,
    )


async def _add_run(
    connection: AsyncConnection,
    kind: RunKind,
    areas: Sequence[str],
    contract: str,
    now: datetime,
) -> Row[Any]:
    """Add a run to the ledger, with the counts that the guard compares against."""
    open_before, holders = await open_counts(connection)
    persons = await known_persons(connection)
    row: Row[Any] = (
        await connection.execute(
            insert(run)
            .values(
                kind=kind,
                status=RunStatus.RUNNING,
                areas=orjson.dumps(list(areas)).decode(),
                contract=contract,
                started_at=now,
                worker_version=__version__,
                open_before=open_before,
                holders_before=holders,
                persons_before=persons,
            )
            .returning(run)
        )
    ).one()
    return row


async def _add_attempt(
    connection: AsyncConnection, run_id: int, now: datetime, holder: Holder
) -> int:
    """Add a run attempt to the ledger; return its id."""
    result: int = (
        await connection.execute(
            insert(attempt)
            .values(run_id=run_id, host=holder.describe(), started_at=now)
            .returning(attempt.c.attempt_id)
        )
    ).scalar_one()
    return result


async def open_counts(connection: AsyncConnection) -> tuple[int, int]:
    """How many restrictions are open as published, and how many persons have one."""
    holders = [open_as_published(table) for table in VERSIONS.values()]
    return await rows_and_persons(connection, *holders)


async def known_persons(connection: AsyncConnection) -> int:
    """How many persons a published run has read who are not departed."""
    seen = (
        select(person_area.c.person_id)
        .join(run, run.c.run_id == person_area.c.run_id)
        .where(
            person_area.c.person_id == person.c.person_id,
            run.c.publication_no.is_not(None) | person_area.c.prev_run_id.is_not(None),
        )
        .exists()
    )
    result: int = (
        await connection.execute(
            select(func.count()).select_from(person).where(person.c.departed_run.is_(None), seen)
        )
    ).scalar_one()
    return result
