"""The published state of sampled persons, to compare with PTS (``verify``). Never writes."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import and_, event, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.store.database import Database
from worker.store.dialects import member, members
from worker.store.schema.tables import VERSIONS, person, person_area, run

_PERSONS_PER_QUERY: Final = 500


class PublishedArea(Value, frozen=True, kw_only=True):
    """What readers see of one area of one person.

    Attributes:
        records: content hashes by record key.
        is_complete: whether it comes from a complete read; if not, readers see an older state.
    """

    records: Mapping[str, bytes]
    is_complete: bool


def forbid_writes(database: Database) -> None:
    """Make the database refuse every write of this engine from now on."""
    is_sqlite = database.dialect.name == "sqlite"
    statement = "PRAGMA query_only=ON" if is_sqlite else "SET TRANSACTION READ ONLY"

    @event.listens_for(database.engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql(statement)


async def published_areas(
    database: Database, person_keys: Sequence[str]
) -> Mapping[tuple[str, str], PublishedArea]:
    """The published state by person key and area.

    Left out are areas that were never published, and departed persons: readers see neither.
    """
    found: dict[tuple[str, str], PublishedArea] = {}
    for start in range(0, len(person_keys), _PERSONS_PER_QUERY):
        keys = person_keys[start : start + _PERSONS_PER_QUERY]
        found |= await database.read(partial(_areas, keys=keys))
    return found


async def _areas(
    connection: AsyncConnection, keys: Sequence[str]
) -> Mapping[tuple[str, str], PublishedArea]:
    now = run.alias("now")
    is_published = now.c.publication_no.is_not(None)
    rows = await connection.execute(
        select(
            person.c.person_key,
            person.c.person_id,
            person_area.c.area,
            or_(
                and_(is_published, person_area.c.is_complete),
                and_(~is_published, person_area.c.prev_is_complete),
            ).label("is_complete"),
        )
        .join(person_area, person_area.c.person_id == person.c.person_id)
        .join(now, now.c.run_id == person_area.c.run_id)
        .where(
            member(person.c.person_key),
            person.c.departed_run.is_(None),
            or_(is_published, person_area.c.prev_run_id.is_not(None)),
        ),
        members(keys),
    )
    proofs = rows.all()
    persons = sorted({row.person_id for row in proofs})
    records = {area: await _records(connection, area, persons) for area in VERSIONS}
    return {
        (row.person_key, row.area): PublishedArea(
            records=records.get(row.area, {}).get(row.person_id, {}),
            is_complete=bool(row.is_complete),
        )
        for row in proofs
    }


async def _records(
    connection: AsyncConnection, area: str, persons: Sequence[int]
) -> Mapping[int, Mapping[str, bytes]]:
    """Content hashes by person and record key, as shown by the view of the current state."""
    table = VERSIONS[area]
    opened, closed = run.alias("opened"), run.alias("closed")
    rows = await connection.execute(
        select(table.c.person_id, table.c.restriction_id, table.c.content_hash)
        .join(opened, opened.c.run_id == table.c.opened_run)
        .outerjoin(closed, closed.c.run_id == table.c.closed_run)
        .where(
            member(table.c.person_id),
            opened.c.publication_no.is_not(None),
            closed.c.publication_no.is_(None),
        ),
        members(persons),
    )
    found: dict[int, dict[str, bytes]] = {}
    for row in rows:
        found.setdefault(row.person_id, {})[row.restriction_id] = bytes(row.content_hash)
    return found
