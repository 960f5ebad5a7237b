"""Undoes what an unpublished run wrote, by its run id: completely, or for some persons.

Readers never saw any of it, so nothing changes for them meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Column, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import RunStatus
from worker.errors import ExitCode
from worker.store.dialects import member, members
from worker.store.runs.lease import Lease
from worker.store.schema.tables import (
    PROOF_COLUMNS,
    VERSIONS,
    failure,
    person,
    person_area,
    run,
)

PERSONS_PER_STEP: Final = 2_000


async def undo_run(
    lease: Lease,
    run_id: int,
    *,
    status: RunStatus,
    exit_code: ExitCode | None = None,
    reason: str = "",
) -> None:
    """Undo everything that the run wrote, in bounded steps, and end it with ``status``.

    The status is set first, so that no one continues the run if an error interrupts the undo. The
    next run finds it in ``leftovers`` and does the remaining steps.

    Raises:
        LeaseLostError: another holder took over.
    """
    now = lease.database.runtime.now()
    await lease.write(_end_run, run_id, status, now, exit_code=exit_code, reason=reason or None)
    await undo_writes(lease, run_id)


async def _end_run(
    connection: AsyncConnection,
    run_id: int,
    status: RunStatus,
    now: datetime,
    *,
    exit_code: ExitCode | None = None,
    reason: str | None = None,
) -> None:
    """Mark a run as withheld or abandoned."""
    await connection.execute(
        update(run)
        .where(run.c.run_id == run_id)
        .values(status=status, finished_at=now, exit_code=exit_code, reason=reason)
    )


async def undo_writes(lease: Lease, run_id: int) -> None:
    """The steps of ``undo_run`` after the status is set.

    Raises:
        LeaseLostError: another holder took over.
    """
    after = 0
    while persons := await lease.write(_undo_next_persons, run_id, after=after):
        after = persons[-1]
    await lease.write(_undo_rest, run_id)


async def leftovers(connection: AsyncConnection) -> Sequence[int]:
    """Ids of withheld and abandoned runs that are not completely undone yet, in order."""
    unpublished = (RunStatus.WITHHELD.value, RunStatus.ABANDONED.value)
    ended = select(run.c.run_id).where(run.c.status.in_(unpublished))
    marks: list[Column[int]] = []
    for table in VERSIONS.values():
        marks += [table.c.opened_run, table.c.closed_run]
    found: set[int] = set()
    for mark in marks:
        is_marked = select(mark).where(mark == run.c.run_id).exists()
        found.update((await connection.execute(ended.where(is_marked))).scalars())
    # Proofs have no index by run: one scan for all runs, not one for each.
    proofs = select(person_area.c.run_id).where(person_area.c.run_id.in_(ended)).distinct()
    found.update((await connection.execute(proofs)).scalars())
    return sorted(found)


async def _undo_next_persons(
    connection: AsyncConnection, run_id: int, *, after: int
) -> Sequence[int]:
    """Undo what the run wrote for the next ``PERSONS_PER_STEP`` persons.

    Args:
        after: the last person of the previous step, 0 for the first step. Proofs have no index by
            run, so the steps scan them once, in order.

    Returns:
        Those persons, in order.
    """
    touched = (
        select(person_area.c.person_id)
        .where(person_area.c.run_id == run_id, person_area.c.person_id > after)
        .distinct()
        .order_by(person_area.c.person_id)
        .limit(PERSONS_PER_STEP)
    )
    persons = [row.person_id for row in await connection.execute(touched)]
    if persons:
        await undo_persons(connection, run_id, persons)
    return persons


async def _undo_rest(connection: AsyncConnection, run_id: int) -> None:
    """Undo the rest: rows of persons without a proof of this run."""
    for table in VERSIONS.values():
        await connection.execute(delete(table).where(table.c.opened_run == run_id))
        await connection.execute(
            update(table).where(table.c.closed_run == run_id).values(closed_run=None)
        )
    await forget_new_persons(connection, run_id)


async def undo_persons(connection: AsyncConnection, run_id: int, persons: Sequence[int]) -> None:
    """Undo what the run wrote for these persons, in the caller's transaction."""
    listed = members(persons)
    for table in VERSIONS.values():
        of_them = member(table.c.person_id)
        await connection.execute(delete(table).where(of_them, table.c.opened_run == run_id), listed)
        await connection.execute(
            update(table).where(of_them, table.c.closed_run == run_id).values(closed_run=None),
            listed,
        )
    proofs = member(person_area.c.person_id)
    await connection.execute(
        delete(person_area).where(
            proofs, person_area.c.run_id == run_id, person_area.c.prev_run_id.is_(None)
        ),
        listed,
    )
    await connection.execute(
        update(person_area)
        .where(proofs, person_area.c.run_id == run_id)
        .values({name: person_area.c[f"prev_{name}"] for name in PROOF_COLUMNS}),
        listed,
    )
    await connection.execute(
        update(person)
        .where(
            member(person.c.person_id),
            person.c.local_ref_run == run_id,
            person.c.first_run != run_id,
        )
        .values(
            local_ref=person.c.prev_local_ref,
            cohort=person.c.prev_cohort,
            local_ref_run=person.c.first_run,
        ),
        listed,
    )


async def forget_new_persons(connection: AsyncConnection, run_id: int) -> None:
    """Delete persons that only this run has seen, except those with an open failure."""
    unknown = ~(
        select(person_area.c.person_id)
        .where(person_area.c.person_id == person.c.person_id)
        .exists()
        | select(failure.c.person_id).where(failure.c.person_id == person.c.person_id).exists()
    )
    await connection.execute(delete(person).where(person.c.first_run == run_id, unknown))
