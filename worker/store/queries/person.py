"""Everything that the store has about one person, as the views show it (``explain``)."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.store.schema.tables import person, run
from worker.views import FRESHNESS, HISTORY, View

_OF_THE_PERSON: Final = frozenset({"person_key", "local_ref", "cohort"})
"""Columns of the views that say who it is, and the same in each row."""


async def person_story(
    connection: AsyncConnection, person_key: str, number: int, *, is_past: bool = False
) -> dict[str, Any] | None:
    """The person's row, and of each area that of the freshness and those of the history.

    Which publication counts is said by the store: no clock decides what is in force now.

    Args:
        number: the publication that counts; a restriction is shown if its readers saw it.
        is_past: leave out what they did not see.

    Returns:
        None if the store does not have the key. An area that was never read, or of a person who
        departed, has no column of the freshness.
    """
    found = await _person(connection, person_key)
    if found is None:
        return None
    reads = {row["area"]: row for row in await _rows(connection, FRESHNESS, person_key)}
    areas = []
    for area in AREAS:
        versions = await _rows(connection, HISTORY[area.name], person_key)
        for row in versions:
            row["is_shown"] = _is_shown(row, number)
        shown = [row for row in versions if row["is_shown"] or not is_past]
        shown.sort(key=itemgetter("opened_publication", "restriction_id"))
        areas.append({"area": area.name} | reads.get(area.name, {}) | {"restrictions": shown})
    return {**found, "areas": areas}


async def _person(connection: AsyncConnection, person_key: str) -> Mapping[str, Any] | None:
    """The person's row with the times of its runs; None if there is none."""
    first, departed = run.alias("first"), run.alias("departed")
    found = await connection.execute(
        select(
            person.c.local_ref,
            person.c.cohort,
            first.c.run_id.label("first_run"),
            first.c.started_at.label("first_run_at"),
            departed.c.published_at.label("departed_at"),
        )
        .join(first, first.c.publication_no == person.c.first_no)
        .outerjoin(departed, departed.c.publication_no == person.c.departed_no)
        .where(person.c.person_key == person_key)
    )
    return found.mappings().one_or_none()


async def _rows(connection: AsyncConnection, view: View, person_key: str) -> list[dict[str, Any]]:
    """The person's rows of a view, without the columns that say who it is."""
    table = view.table()
    columns = (column for column in table.c if column.name not in _OF_THE_PERSON)
    found = await connection.execute(select(*columns).where(table.c.person_key == person_key))
    return [dict(row) for row in found.mappings()]


def _is_shown(version: Mapping[str, Any], number: int) -> bool:
    """Whether readers saw a version at that publication."""
    closed_no = version["closed_publication"]
    return version["opened_publication"] <= number and (closed_no is None or closed_no > number)
