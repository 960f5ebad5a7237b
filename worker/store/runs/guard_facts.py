"""What the guard judges a run by, counted from the rows that publication is about to show."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Select, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.guard import AreaFacts, GuardFacts
from worker.core.model import RunKind
from worker.core.run import RunHandle
from worker.store.queries.published import open_as_published, rows_and_persons
from worker.store.runs.moves import counterpart, has_failed, is_taken_over, takers
from worker.store.schema.tables import VERSIONS, alias_of, person_area


async def guard_facts(
    connection: AsyncConnection,
    handle: RunHandle,
    *,
    departing: int,
    roster_faults: int,
    unmoved: Collection[str] = (),
) -> GuardFacts:
    """Count them.

    Args:
        unmoved: areas in which nothing has moved (``store.runs.moves.unmoved_areas``).
    """
    run_id = handle.run_id
    removed, affected = await removed_by(connection, run_id, unmoved)
    doubts = [
        _closed(area, run_id, unmoved, lives_on=True).where(
            or_(
                table.c.person_id.in_(takers(table, run_id, of_at_least=1)),
                has_failed(table, area, run_id),
            )
        )
        for area, table in VERSIONS.items()
        if area not in unmoved
    ]
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
        areas=tuple([await _area_facts(connection, name, run_id, unmoved) for name in VERSIONS]),
    )


async def removed_by(
    connection: AsyncConnection, run_id: int, unmoved: Collection[str]
) -> tuple[int, int]:
    """Restrictions that this run has closed and nobody took over; the persons who lose them."""
    gone = [_closed(area, run_id, unmoved, lives_on=False) for area in VERSIONS]
    return await rows_and_persons(connection, *gone)


async def _area_facts(
    connection: AsyncConnection, area: str, run_id: int, unmoved: Collection[str]
) -> AreaFacts:
    """The removals of one area by itself."""
    gone = _closed(area, run_id, unmoved, lives_on=False)
    removed, affected = await rows_and_persons(connection, gone)
    open_before = 0
    if removed:
        open_before, _ = await rows_and_persons(connection, open_as_published(VERSIONS[area]))
    return AreaFacts(area=area, open_before=open_before, removed=removed, persons_affected=affected)


def _closed(
    area: str, run_id: int, unmoved: Collection[str], *, lives_on: bool
) -> Select[tuple[int]]:
    """The persons of the rows of one area that this run has closed without a new content.

    Those of restrictions that another person has taken over, or those of the others.
    """
    table = VERSIONS[area]
    other = alias_of(table, "other")
    is_elsewhere: ColumnElement[bool] = (
        select(other.c.version_id)
        .where(
            other.c.restriction_id == table.c.restriction_id,
            other.c.person_id != table.c.person_id,
            is_taken_over(table, other, run_id, by_key=True),
        )
        .exists()
    )
    if area in unmoved:
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
