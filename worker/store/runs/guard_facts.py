"""What the guard judges a run by, counted from the rows that publication is about to show."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.guard import AreaFacts, GuardFacts
from worker.core.model import RunKind
from worker.core.run import RunHandle
from worker.store.queries.published import open_as_published, rows_and_persons
from worker.store.runs.moves import versions_of_run
from worker.store.runs.run_versions import RunVersions
from worker.store.schema.tables import VERSIONS, alias_of, person_area


async def guard_facts(
    connection: AsyncConnection,
    handle: RunHandle,
    *,
    departing: int,
    roster_faults: int,
    areas: Sequence[RunVersions] | None = None,
) -> GuardFacts:
    """Count them.

    Args:
        areas: what the run did to each area, if that is known already.
    """
    run_id = handle.run_id
    if areas is None:
        areas = await versions_of_run(connection, run_id)
    removed, affected = await removed_by(connection, areas)
    doubts = [_doubtful(versions) for versions in areas if versions.may_move]
    doubtful, doubtful_persons = await rows_and_persons(connection, *doubts)
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
        doubtful_moves=doubtful,
        persons_moved_in_doubt=doubtful_persons,
        departing=departing,
        areas_attempted=attempted + roster_faults * len(handle.areas),
        areas_complete=complete,
        is_subset=is_subset,
        areas=tuple([await _area_facts(connection, versions) for versions in areas]),
    )


async def removed_by(connection: AsyncConnection, areas: Sequence[RunVersions]) -> tuple[int, int]:
    """Restrictions that this run has closed and nobody took over; the persons who lose them."""
    return await rows_and_persons(connection, *map(_gone, areas))


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
    """The persons of the rows that this run has closed without a new content or another person."""
    rows = select(versions.table.c.person_id).where(versions.is_removed(versions.table))
    return rows.where(~_is_elsewhere(versions)) if versions.may_move else rows


def _doubtful(versions: RunVersions) -> Select[tuple[int]]:
    """The persons of those that another has taken over who got more than that, or was not read."""
    table = versions.table
    return select(table.c.person_id).where(
        versions.is_removed(table),
        _is_elsewhere(versions),
        or_(table.c.person_id.in_(versions.takers(of_at_least=1)), versions.has_failed(table)),
    )


def _is_elsewhere(versions: RunVersions) -> ColumnElement[bool]:
    """Whether another person has taken over the restriction."""
    table, other = versions.table, alias_of(versions.table, "other")
    return (
        select(other.c.version_id)
        .where(
            other.c.restriction_id == table.c.restriction_id,
            other.c.person_id != table.c.person_id,
            versions.is_taken_over(other, by_key=True),
        )
        .exists()
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
