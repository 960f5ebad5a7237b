"""What the guard judges a run by, counted from the rows that publication is about to show."""

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.guard import AreaFacts, GuardFacts
from worker.core.model import RunKind
from worker.core.run import RunHandle
from worker.store.queries.published import open_as_published, rows_and_persons
from worker.store.runs.run_versions import RunVersions, versions_of_run
from worker.store.schema.tables import VERSIONS, person_area


async def guard_facts(
    connection: AsyncConnection,
    handle: RunHandle,
    *,
    departing: int,
    roster_faults: int,
) -> GuardFacts:
    """Count them."""
    run_id = handle.run_id
    removed, affected = await removed_by(connection, run_id)
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
        departing=departing,
        areas_attempted=attempted + roster_faults * len(handle.areas),
        areas_complete=complete,
        is_subset=is_subset,
        areas=tuple(
            [await _area_facts(connection, versions) for versions in versions_of_run(run_id)]
        ),
    )


async def removed_by(connection: AsyncConnection, run_id: int) -> tuple[int, int]:
    """Restrictions that this run has closed without a new content; the persons who lose them."""
    return await rows_and_persons(connection, *map(_gone, versions_of_run(run_id)))


async def _area_facts(connection: AsyncConnection, versions: RunVersions) -> AreaFacts:
    """The removals of one area by itself."""
    removed, affected = await rows_and_persons(connection, _gone(versions))
    open_before = 0
    if removed:
        open_before, _ = await rows_and_persons(connection, open_as_published(versions.table))
    return AreaFacts(
        area=versions.area, open_before=open_before, removed=removed, persons_affected=affected
    )


def _gone(versions: RunVersions) -> Select[tuple[int]]:
    """The persons of the rows that this run has closed without a new content."""
    return select(versions.table.c.person_id).where(versions.is_removed(versions.table))


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
