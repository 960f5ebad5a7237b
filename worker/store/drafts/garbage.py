"""Forgets drafts. Of a run that is not open they are garbage, which goes in bounded steps."""

from typing import Final

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.model import OPEN_STATUSES, RunStatus
from worker.errors import ExitCode
from worker.store.database import execute
from worker.store.runs.lease import Lease
from worker.store.schema.tables import CHANGES, draft, run
from worker.store.statements import (
    FORGET_SOME,
    FORGET_SOME_CHANGES,
    HAS_NOT_FAILED,
    of_all,
    of_area,
)

PERSONS_PER_STEP: Final = 5_000


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

    Raises:
        LeaseLostError: another holder took over.
    """
    await lease.write(
        execute,
        update(run)
        .where(run.c.run_id == run_id)
        .values(
            status=status,
            finished_at=lease.database.runtime.now(),
            exit_code=exit_code,
            reason=reason or None,
            guard=guard,
        ),
    )
    await forget_drafts(lease, run_id, keeps_failures=True)


async def forget_garbage(lease: Lease, *, keeps: int | None = None) -> None:
    """Forget the drafts of every run that is not open, before another begins.

    Args:
        keeps: a run whose failures stay, because the one that begins reads them again.

    Raises:
        LeaseLostError: another holder took over.
    """

    async def garbage(connection: AsyncConnection) -> list[int]:
        ended = select(run.c.run_id).where(run.c.status.not_in(sorted(OPEN_STATUSES)))
        found: set[int] = set()
        for table in (draft, *CHANGES.values()):
            has_rows = select(table.c.run_id).where(table.c.run_id == run.c.run_id).exists()
            found.update((await connection.execute(ended.where(has_rows))).scalars())
        return sorted(found)

    for run_id in await lease.database.read(garbage):
        await forget_drafts(lease, run_id, keeps_failures=run_id == keeps)


async def forget_drafts(lease: Lease, run_id: int, *, keeps_failures: bool = False) -> None:
    """Forget the drafts of a run.

    Raises:
        LeaseLostError: another holder took over.
    """
    what = of_all(HAS_NOT_FAILED) if keeps_failures else "true"
    steps = [of_area(FORGET_SOME_CHANGES, area) for area in AREAS]
    for step in (*steps, FORGET_SOME.replace("{what}", what)):
        statement = text(step.format(run=run_id, limit=PERSONS_PER_STEP))
        while await lease.write(execute, statement):
            pass
