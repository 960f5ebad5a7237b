"""The ledger of runs: begin, continue and end them, and forget what ended runs have read.

Drafts of a run that is not open are garbage, which goes in bounded steps. Whatever writes raises
``LeaseLostError`` if another holder took over.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker import __version__
from worker.areas import AREAS
from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import RunHandle, RunProgress
from worker.errors import ExitCode
from worker.store import statements
from worker.store.database import execute
from worker.store.runs.lease import Lease
from worker.store.schema.tables import CHANGES, draft, run
from worker.store.statements import filled, of_all

PERSONS_PER_STEP: Final = 5_000
"""Whose drafts one transaction forgets."""
_IS_OPEN: Final = run.c.status.in_(sorted(OPEN_STATUSES))


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
    """
    now = lease.database.runtime.now()
    others: list[int] = []
    for row in await lease.database.read(open_runs):
        if kind == RunKind.SYNC and is_continuable(row, areas, terms, continue_within, now):
            return await _continue(lease, row, now), tuple(others)
        if kind == RunKind.SYNC or row.kind == RunKind.BACKFILL:
            await end_run(lease, row.run_id, status=RunStatus.ABANDONED)
        else:
            others.append(row.run_id)
    return await lease.write(_begin, kind, areas, terms, now), tuple(others)


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
    found = await connection.execute(select(run).where(_IS_OPEN).order_by(run.c.run_id.desc()))
    return found.all()


async def last_publication_no(connection: AsyncConnection) -> int:
    """The number of the last publication; 0 before the first one."""
    last = select(func.coalesce(func.max(run.c.publication_no), 0))
    number: int = (await connection.execute(last)).scalar_one()
    return number


async def note_run(lease: Lease, run_id: int, **values: Any) -> None:
    """Write columns of a run, unless it is published or has ended."""
    await lease.write(execute, update(run).where(run.c.run_id == run_id, _IS_OPEN).values(**values))


async def end_run(
    lease: Lease,
    run_id: int,
    *,
    status: RunStatus,
    exit_code: ExitCode | None = None,
    reason: str = "",
    guard: str | None = None,
) -> None:
    """End a run that is not published, and forget what it has read.

    Its failures stay until the next run begins. If an error interrupts the forgetting, the next run
    does the rest.
    """
    await note_run(
        lease,
        run_id,
        status=status,
        exit_code=exit_code,
        reason=reason or None,
        guard=guard,
        finished_at=lease.database.runtime.now(),
    )
    await forget_drafts(lease, run_id, keeps_failures=True)


async def forget_garbage(lease: Lease, *, keeps: int | None = None) -> None:
    """Forget the drafts of every run that is not open, before another begins.

    Args:
        keeps: a run whose failures stay, because the one that begins reads them again.
    """

    async def garbage(connection: AsyncConnection) -> list[int]:
        found: set[int] = set()
        for table in (draft, *CHANGES.values()):
            has_rows = select(table.c.run_id).where(table.c.run_id == run.c.run_id).exists()
            ended = select(run.c.run_id).where(~_IS_OPEN, has_rows)
            found.update((await connection.execute(ended)).scalars())
        return sorted(found)

    for run_id in await lease.database.read(garbage):
        await forget_drafts(lease, run_id, keeps_failures=run_id == keeps)


async def forget_drafts(lease: Lease, run_id: int, *, keeps_failures: bool = False) -> None:
    """Forget the drafts of a run."""
    what = of_all(statements.HAS_NOT_FAILED) if keeps_failures else "true"
    steps = [filled(statements.FORGET_SOME_CHANGES, area) for area in AREAS]
    for step in (*steps, filled(statements.FORGET_SOME, what=what)):
        statement = text(filled(step, run=run_id, limit=PERSONS_PER_STEP))
        while await lease.write(execute, statement):
            pass


def cost_of(handle: RunHandle, progress: RunProgress) -> dict[str, int]:
    """The requests of all attempts at a run; those of one that was killed are not known."""
    return {
        "requests": handle.requests_before + progress.requests,
        "retries": handle.retries_before + progress.retries,
    }


async def _continue(lease: Lease, row: Row[Any], now: datetime) -> RunHandle:
    attempt = row.attempts + 1
    await note_run(
        lease,
        row.run_id,
        status=RunStatus.RUNNING,
        exit_code=None,
        reason=None,
        finished_at=None,
        attempts=attempt,
        attempt_at=now,
    )
    return _handle(row, attempt)


async def _begin(
    connection: AsyncConnection, kind: RunKind, areas: Sequence[str], terms: str, now: datetime
) -> RunHandle:
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


def _areas(row: Row[Any]) -> tuple[str, ...]:
    return tuple(orjson.loads(row.areas))


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
