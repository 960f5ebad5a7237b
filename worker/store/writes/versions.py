"""Reads and writes the version rows of a batch."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import delete, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.area import ColumnType
from worker.core.diff import AreaChange, Opening, StoredVersion
from worker.store.dialects import member, members
from worker.store.schema.tables import VERSIONS, run
from worker.store.writes.bulk import InputRows, Row
from worker.store.writes.statements import insert_versions

CHARACTERS_MAX: Final = 4_000_000
"""Text of one INSERT. A larger batch is split, because several copies are in memory."""

_KINDS: Final = {kind: kind.value for kind in ColumnType} | {ColumnType.JSON: "text"}
_OWN: Final = (
    ("person_id", "integer"),
    ("restriction_id", "text"),
    ("first_seen_at", "time"),
    ("observed_at", "time"),
    ("content_hash", "bytes"),
    ("extra", "text"),
)

Change = tuple[int, AreaChange]
"""A person's id and the change to one of their areas."""


_ROWS: Final = {
    area.name: InputRows((*_OWN, *((column.name, _KINDS[column.type]) for column in area.columns)))
    for area in AREAS
}
_INSERT: Final = {area: insert_versions(table) for area, table in VERSIONS.items()}


async def stored_versions(
    connection: AsyncConnection,
    area: str,
    persons: Sequence[int],
    *,
    run_id: int,
) -> Mapping[int, Sequence[StoredVersion]]:
    """Versions that are open or that this run has closed, by person."""
    table = VERSIONS[area]
    rows = await connection.execute(
        select(
            table.c.version_id,
            table.c.person_id,
            table.c.restriction_id,
            table.c.content_hash,
            table.c.first_seen_at,
            table.c.opened_run,
            table.c.closed_run,
        ).where(
            member(table.c.person_id),
            or_(table.c.closed_run.is_(None), table.c.closed_run == run_id),
        ),
        members(persons),
    )
    stored: dict[int, list[StoredVersion]] = defaultdict(list)
    for row in rows:
        stored[row.person_id].append(
            StoredVersion(
                version_id=row.version_id,
                key=row.restriction_id,
                content_hash=row.content_hash,
                first_seen_at=row.first_seen_at,
                opened_here=row.opened_run == run_id,
                closed_here=row.closed_run == run_id,
            )
        )
    return stored


async def taken_from_others(
    connection: AsyncConnection,
    area: str,
    keys: Mapping[int, frozenset[str]],
    *,
    unpublished: Sequence[int],
) -> Mapping[int, frozenset[str]]:
    """Of these restrictions, by person, those that another person has, as published.

    Args:
        unpublished: open runs; what they have closed is published still.
    """
    table = VERSIONS[area]
    # Each by the partial index that has it.
    states = (table.c.closed_run.is_(None), table.c.closed_run.in_(unpublished))
    found = union_all(
        *(
            select(table.c.restriction_id, table.c.person_id)
            .join(run, run.c.run_id == table.c.opened_run)
            .where(member(table.c.restriction_id), state, run.c.publication_no.is_not(None))
            for state in states
        )
    )
    holders: dict[str, set[int]] = defaultdict(set)
    rows = await connection.execute(found, members(sorted(set().union(*keys.values()))))
    for key, person_id in rows:
        holders[key].add(person_id)
    return {
        person_id: frozenset(key for key in some if holders[key] - {person_id})
        for person_id, some in keys.items()
    }


async def write_versions(
    connection: AsyncConnection,
    area: str,
    changes: Sequence[Change],
    *,
    run_id: int,
) -> None:
    """Apply the changes to one area's version rows."""
    table = VERSIONS[area]
    is_listed = member(table.c.version_id)
    erased = [row for _, change in changes for row in change.erase]
    if erased:
        await connection.execute(delete(table).where(is_listed), members(erased))
    for closed_run, rows in (
        (run_id, [row for _, change in changes for row in change.close]),
        (None, [row for _, change in changes for row in change.reopen]),
    ):
        if rows:
            await connection.execute(
                update(table).where(is_listed).values(closed_run=closed_run), members(rows)
            )
    opened = [_row(person_id, opening) for person_id, change in changes for opening in change.open]
    for part in _parts(opened):
        await _ROWS[area].execute(connection, _INSERT[area], part, run_id=run_id)


def _row(person_id: int, opening: Opening) -> Row:
    record = opening.record
    return (
        person_id,
        record.key,
        opening.first_seen_at,
        opening.observed_at,
        record.content_hash,
        record.extra,
        *record.columns,
    )


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in parts of at most ``CHARACTERS_MAX``; a larger row is a part by itself."""
    part: list[Row] = []
    characters = 0
    for row in rows:
        size = sum(len(value) for value in row if isinstance(value, str))
        characters += size
        if part and characters > CHARACTERS_MAX:
            yield part
            part, characters = [], size
        part.append(row)
    if part:
        yield part
