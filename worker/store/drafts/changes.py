"""Reads the open versions of a batch's persons, and writes drafts of what changes in them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import ColumnType, ResourceArea
from worker.core.diff import Change, StoredVersion
from worker.store.drafts.bulk import IDS, InputRows, Row
from worker.store.schema.tables import CHANGES
from worker.store.statements import (
    FIND_TAKEN,
    FORGET_CHANGES,
    OPEN_VERSIONS,
    WRITE_CHANGES,
    of_area,
)
from worker.utc_time import as_utc

CHARACTERS_MAX: Final = 4_000_000
"""Text of one INSERT. A larger batch is split, because several copies are in memory."""

_ROWS: Final = {name: InputRows.of(table, but={"run_id"}) for name, table in CHANGES.items()}
_KEYS: Final = InputRows((("person_id", "integer"), ("restriction_id", "text")))


async def open_versions(
    connection: AsyncConnection, area: ResourceArea, persons: Sequence[int]
) -> Mapping[int, Sequence[StoredVersion]]:
    """The versions of an area that readers see as open, by person."""
    ids = [(one,) for one in persons]
    stored: dict[int, list[StoredVersion]] = defaultdict(list)
    for (
        person_id,
        version_id,
        key,
        content_hash,
        first_seen_at,
        *content,
        extra,
    ) in await IDS.execute(connection, of_area(OPEN_VERSIONS, area), ids):
        stored[person_id].append(
            StoredVersion(
                version_id=version_id,
                key=key,
                content_hash=content_hash,
                first_seen_at=as_utc(first_seen_at),
                columns=tuple(
                    as_utc(value) if value and column.type == ColumnType.TIME else value
                    for column, value in zip(area.columns, content, strict=True)
                ),
                extra=extra,
            )
        )
    return stored


async def taken_from_others(
    connection: AsyncConnection, area: ResourceArea, keys: Mapping[int, frozenset[str]]
) -> Mapping[int, frozenset[str]]:
    """Of these restrictions, by person, those that another person has, as published."""
    rows = [(person_id, key) for person_id, some in keys.items() for key in sorted(some)]
    taken: dict[int, set[str]] = defaultdict(set)
    for person_id, key in await _KEYS.execute(connection, of_area(FIND_TAKEN, area), rows):
        taken[person_id].add(key)
    return {person_id: frozenset(some) for person_id, some in taken.items()}


async def forget_changes(
    connection: AsyncConnection, area: ResourceArea, persons: Sequence[int], *, run_id: int
) -> None:
    """Forget what an earlier read of these persons would have changed."""
    statement = of_area(FORGET_CHANGES, area)
    await IDS.execute(connection, statement, [(one,) for one in persons], run=run_id)


async def write_changes(
    connection: AsyncConnection,
    area: ResourceArea,
    changes: Mapping[int, Sequence[Change]],
    *,
    run_id: int,
) -> None:
    """Write the drafts of changes of an area, by person."""
    rows = [
        _row(person_id, change, len(area.columns))
        for person_id, some in changes.items()
        for change in some
    ]
    statement = of_area(WRITE_CHANGES, area)
    for part in _parts(rows):
        await _ROWS[area.name].execute(connection, statement, part, run=run_id)


def _row(person_id: int, change: Change, columns: int) -> Row:
    record = change.record
    return (
        person_id,
        change.key,
        change.op.value,
        change.version_id,
        change.closes,
        change.loses,
        change.first_seen_at,
        change.observed_at,
        record and record.content_hash,
        *(record.columns if record else (None,) * columns),
        record and record.extra,
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
