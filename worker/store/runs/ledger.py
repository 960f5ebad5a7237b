"""The ledger of runs: begin, continue, end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker import __version__
from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import RunHandle, RunProgress
from worker.errors import ExitCode
from worker.store.database import execute
from worker.store.drafts.garbage import end_run
from worker.store.runs.lease import Lease
from worker.store.schema.tables import run


async def begin_run(
    lease: Lease,
    *,
    kind: RunKind,
    areas: Sequence[str],
    terms: str,
    continue_within: timedelta,
) -> tuple[RunHandle, tuple[int, ...]]:
    """Continue the run that an earlier ``sync`` left open, or begin a new one.

    A ``sync`` continues an open ``sync`` over the same areas and under the same terms
    (``App.terms``) that made progress within ``continue_within``, see
    ``is_continuable``. A run that cannot be continued is abandoned; a backfill leaves an open
    ``sync`` for the next ``sync``.

    Returns:
        The run, and the ids of the others that stay open.

    Raises:
        LeaseLostError: another holder took over.
    """
    now = lease.database.runtime.now()
    others: list[int] = []
    for row in await lease.database.read(open_runs):
        if kind == RunKind.SYNC and is_continuable(row, areas, terms, continue_within, now):
            return await _continue(lease, row), tuple(others)
        if kind == RunKind.SYNC or row.kind == RunKind.BACKFILL:
            await end_run(lease, row.run_id, status=RunStatus.ABANDONED)
        else:
            others.append(row.run_id)
    return await _begin(lease, kind, areas, terms), tuple(others)


def is_continuable(
    row: Row[Any],
    areas: Sequence[str],
    terms: str,
    continue_within: timedelta,
    now: datetime,
) -> bool:
    """Whether a ``sync`` over these areas continues an open run.

    Under another contract, PTS or ``sync.confirm`` it does not: what was read would mean two things
    in one publication.

    A run may need many attempts: it is continued as long as it makes progress, and abandoned when
    it makes none, however often it is started.

    Args:
        row: the run, as returned by ``open_runs``.
        now: from the worker's clock, like ``started_at`` and ``progressed_at``.
    """
    is_same = row.kind == RunKind.SYNC and _areas(row) == tuple(areas)
    is_same = is_same and row.terms == terms
    return is_same and now - (row.progressed_at or row.started_at) <= continue_within


async def open_runs(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Runs that are neither published nor ended, latest first."""
    found = await connection.execute(
        select(run).where(run.c.status.in_(sorted(OPEN_STATUSES))).order_by(run.c.run_id.desc())
    )
    return found.all()


async def interrupt_run(
    lease: Lease, handle: RunHandle, *, exit_code: ExitCode, reason: str, progress: RunProgress
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
            **cost_of(handle, progress),
        ),
    )


def cost_of(handle: RunHandle, progress: RunProgress) -> dict[str, int]:
    """The requests of all attempts at a run; those of one that was killed are not known."""
    return {
        "requests": handle.requests_before + progress.requests,
        "retries": handle.retries_before + progress.retries,
    }


def _areas(row: Row[Any]) -> tuple[str, ...]:
    return tuple(orjson.loads(row.areas))


async def _continue(lease: Lease, row: Row[Any]) -> RunHandle:
    attempt = row.attempts + 1
    await lease.write(
        execute,
        update(run)
        .where(run.c.run_id == row.run_id)
        .values(
            status=RunStatus.RUNNING,
            exit_code=None,
            reason=None,
            finished_at=None,
            attempts=attempt,
            attempt_at=lease.database.runtime.now(),
        ),
    )
    return _handle(row, attempt)


async def _begin(lease: Lease, kind: RunKind, areas: Sequence[str], terms: str) -> RunHandle:
    now = lease.database.runtime.now()

    async def work(connection: AsyncConnection) -> RunHandle:
        # If a commit's acknowledgement was lost, it is there already.
        found = await connection.execute(
            select(run).where(
                run.c.kind == kind, run.c.started_at == now, run.c.status == RunStatus.RUNNING
            )
        )
        row = found.one_or_none()
        if row is None:
            added = await connection.execute(
                insert(run)
                .values(
                    kind=kind,
                    status=RunStatus.RUNNING,
                    areas=orjson.dumps(list(areas)).decode(),
                    terms=terms,
                    started_at=now,
                    attempt_at=now,
                    worker_version=__version__,
                )
                .returning(run)
            )
            row = added.one()
        return _handle(row, 1)

    return await lease.write(work)


def _handle(row: Row[Any], attempt: int) -> RunHandle:
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
