"""What the guard judges a run by, counted from the rows that publication is about to show."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Select, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.guard import AreaFacts, GuardFacts
from worker.core.model import RunKind
from worker.core.run import RunHandle
from worker.store.queries.published import open_as_published, rows_and_persons
from worker.store.runs.moves import counterpart, takers
from worker.store.schema.tables import VERSIONS, alias_of, person_area, run


async def guard_facts(
    connection: AsyncConnection,
    handle: RunHandle,
    *,
    departing: int,
    roster_faults: int,
    shared: Collection[str] = (),
) -> GuardFacts:
    """Count them.

    Args:
        connection: in the transaction that publishes the run.
        handle: of the run.
        departing: persons who depart with this publication.
        roster_faults: lines of the roster that could not be read.
        shared: areas in which nothing moves (``store.runs.moves.shared_areas``).
    """
    run_id = handle.run_id
    removed, affected = await removed_by(connection, run_id, shared)
    swaps = [
        _closed(area, run_id, shared, lives_on=True).where(
            table.c.person_id.in_(takers(table, run_id, of_at_least=1))
        )
        for area, table in VERSIONS.items()
    ]
    swapped, swappers = await rows_and_persons(connection, *swaps)
    attempted, complete = await _person_areas(connection, run_id)
    is_subset = handle.kind == RunKind.BACKFILL
    open_before, holders = handle.open_before, handle.holders_before
    if is_subset:
        open_before, holders = await _subset_open(connection, run_id)
    return GuardFacts(
        open_before=open_before,
        holders_before=holders,
        persons_before=handle.persons_before,
        removed=removed,
        persons_affected=affected,
        swapped=swapped,
        persons_swapped=swappers,
        departing=departing,
        areas_attempted=attempted + roster_faults * len(handle.areas),
        areas_complete=complete,
        is_subset=is_subset,
        areas=tuple([await _area_facts(connection, name, run_id, shared) for name in VERSIONS]),
    )


async def removed_by(
    connection: AsyncConnection, run_id: int, shared: Collection[str]
) -> tuple[int, int]:
    """Restrictions that this run has closed and that live on with nobody; persons who lose them."""
    gone = [_closed(area, run_id, shared, lives_on=False) for area in VERSIONS]
    return await rows_and_persons(connection, *gone)


async def _area_facts(
    connection: AsyncConnection, area: str, run_id: int, shared: Collection[str]
) -> AreaFacts:
    """The removals of one area by itself."""
    gone = _closed(area, run_id, shared, lives_on=False)
    removed, affected = await rows_and_persons(connection, gone)
    open_before = 0
    if removed:
        open_before, _ = await rows_and_persons(connection, open_as_published(VERSIONS[area]))
    return AreaFacts(area=area, open_before=open_before, removed=removed, persons_affected=affected)


def _closed(
    area: str, run_id: int, shared: Collection[str], *, lives_on: bool
) -> Select[tuple[int]]:
    """The persons of the rows of one area that this run has closed without a new content.

    Those of restrictions that live on with another person, or those of the others.
    """
    table = VERSIONS[area]
    other, opened = alias_of(table, "other"), alias_of(run, "opened")
    # What another open run has closed is still open for readers.
    unpublished = select(run.c.run_id).where(run.c.publication_no.is_(None), run.c.run_id != run_id)
    is_elsewhere: ColumnElement[bool] = (
        select(other.c.version_id)
        .join(opened, opened.c.run_id == other.c.opened_run)
        .where(
            other.c.restriction_id == table.c.restriction_id,
            or_(other.c.closed_run.is_(None), other.c.closed_run.in_(unpublished)),
            or_(opened.c.run_id == run_id, opened.c.publication_no.is_not(None)),
            other.c.person_id != table.c.person_id,
        )
        .exists()
    )
    if area in shared:
        is_elsewhere = false()
    return select(table.c.person_id).where(
        table.c.closed_run == run_id,
        ~counterpart(table, table, "opened_run", run_id),
        is_elsewhere if lives_on else ~is_elsewhere,
    )


async def _person_areas(connection: AsyncConnection, run_id: int) -> tuple[int, int]:
    """Person-areas that this run asked for, and those that it read completely."""
    complete = func.count().filter(person_area.c.is_complete)
    asked = select(func.count(), complete).where(person_area.c.run_id == run_id)
    row = (await connection.execute(asked)).one()
    return row[0], row[1]


async def _subset_open(connection: AsyncConnection, run_id: int) -> tuple[int, int]:
    """What was open, as published, of the persons that a backfill read."""
    holders = [
        select(table.c.person_id)
        .join(person_area, person_area.c.person_id == table.c.person_id)
        .where(
            person_area.c.run_id == run_id,
            person_area.c.area == name,
            table.c.opened_run != run_id,
            or_(table.c.closed_run.is_(None), table.c.closed_run == run_id),
        )
        for name, table in VERSIONS.items()
    ]
    return await rows_and_persons(connection, *holders)
