"""The derived columns of a version: its effect, and the codes by which facts count it.

They are computed when a record is read, and written with it. If a later release gives a code its
meaning, ``db upgrade`` corrects the rows that have it. Published facts stay as they are.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS, ResourceArea
from worker.core.effect import effect_of
from worker.core.model import ColumnValue
from worker.store.schema.columns import fact_columns
from worker.store.schema.tables import CHANGES, VERSIONS
from worker.views import codes, systems_of

OTHER: Final = "other"
"""All codes, causes and cohorts that facts do not name, because facts stay for ever."""
_ROWS_PER_READ: Final = 5_000


def derived_columns(area: ResourceArea, values: Mapping[str, Any]) -> dict[str, Any]:
    """The derived columns of a restriction, by name.

    Args:
        values: the area's typed columns, by name.
    """
    facts = {
        name: _fact_value(source, values[source]) for name, source in fact_columns(area).items()
    }
    return effect_of(area.effect, values)._asdict() | facts


def _fact_value(column: str, value: ColumnValue) -> str:
    """The value by which facts count a code. An unknown one could be text that names a person."""
    if not value:
        return ""
    return str(value) if value in _known_codes(column) else OTHER


@cache
def _known_codes(column: str) -> frozenset[str]:
    systems = systems_of(column)
    return frozenset(code.code for code in codes() if code.system in systems)


def is_active(version: Any, at: Any) -> ColumnElement[bool]:
    """Whether the restriction of a row is in effect at an instant. Never NULL.

    Args:
        version: the columns of a table with derived columns.
        at: the instant, as a time or as an expression.
    """
    return and_(
        version.restricts,
        # A limit is NULL if the restriction has none.
        or_(version.effect_from.is_(None), version.effect_from <= at),
        or_(version.effect_until.is_(None), version.effect_until > at),
    )


def correct_derived(connection: Connection) -> int:
    """Correct the derived columns that differ from the rules, in the caller's transaction.

    Returns:
        The number of corrected versions and drafts.
    """
    corrected = 0
    # The rules are Python, so no single UPDATE can compute the columns.
    for table, key, derived in _outdated_rows(connection):
        is_row = and_(*(table.c[name] == value for name, value in key.items()))
        connection.execute(update(table).where(is_row).values(derived))
        corrected += 1
    return corrected


async def count_outdated(connection: AsyncConnection) -> int:
    """The number of versions and drafts with derived columns that differ from the rules."""
    return await connection.run_sync(lambda sync: sum(1 for _ in _outdated_rows(sync)))


def _outdated_rows(
    connection: Connection,
) -> Iterator[tuple[Table, Mapping[str, Any], Mapping[str, Any]]]:
    """The versions and drafts with derived columns that differ from the rules.

    Yields:
        The table, the row's primary key, and the columns as the rules have them.
    """
    for area in AREAS:
        for table in (VERSIONS[area.name], CHANGES[area.name]):
            # The draft of a closing has no content.
            rows = select(table).where(table.c.restricts.is_not(None))
            in_parts = connection.execute(rows, execution_options={"yield_per": _ROWS_PER_READ})
            for row in in_parts.mappings():
                derived = derived_columns(area, dict(row))
                if any(row[name] != value for name, value in derived.items()):
                    key = {column.name: row[column.name] for column in table.primary_key}
                    yield table, key, derived
