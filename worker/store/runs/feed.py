# ruff: noqa: S608 - the texts in these statements are declared, and the numbers are the store's own
"""The change feed: what each publication changed, in an order that readers follow by one number.

Its rows hold numbers only. The view joins keys and labels from the rows that they point to, so that
nothing of a person is left once those rows are erased.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, insert, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import ScalarSelect, Select

from worker.areas import AREAS
from worker.core.effect import instant_sql
from worker.store.runs.labels import relabelled_sql
from worker.store.schema.fact_tables import change_feed, publication
from worker.utc_time import UtcTime

COLUMNS: Final = ("publication_no", "happened_at", "op", "area", "version_id", "person_id")


def write_feed(connection: Connection, *, run_id: int, number: int, at: datetime) -> int:
    """Write what a publication changed; return the number after which its rows come.

    A restriction that moved to another identifier is closed under the old one first.
    """
    last = connection.execute(select(func.coalesce(func.max(change_feed.c.seq), 0))).scalar_one()
    tables = {area.name: f"{area.table}_version" for area in AREAS}
    closed = ", ".join(
        f"EXISTS (SELECT 1 FROM {table} WHERE closed_run = {run_id})" for table in tables.values()
    )
    is_changed = dict(
        zip(tables, connection.exec_driver_sql(f"SELECT {closed}").one(), strict=True)
    )
    parts = []
    for area, table in tables.items():
        op = "'insert'"
        if is_changed[area]:
            parts.append(
                f"SELECT 1 AS step, 'close' AS op, '{area}' AS area, v.version_id, v.person_id "
                f"FROM {table} v WHERE v.closed_run = {run_id} "
                f"AND NOT {_counterpart(table, 'opened_run', run_id)}"
            )
            is_update = _counterpart(table, "closed_run", run_id)
            op = f"CASE WHEN {is_update} THEN 'update' ELSE 'insert' END"
        parts.append(
            f"SELECT 2 AS step, {op} AS op, '{area}' AS area, v.version_id, v.person_id "
            f"FROM {table} v WHERE v.opened_run = {run_id}"
        )
    person = "CAST(NULL AS TEXT) AS area, CAST(NULL AS BIGINT) AS version_id, p.person_id"
    parts.append(
        f"SELECT 3 AS step, 'depart' AS op, {person} FROM person p WHERE p.departed_run = {run_id}"
    )
    parts.append(
        f"SELECT 4 AS step, 'relabel' AS op, {person} FROM person p WHERE {relabelled_sql(run_id)}"
    )
    connection.exec_driver_sql(
        f"INSERT INTO change_feed ({', '.join(COLUMNS)}) "
        f"SELECT {number}, {instant_sql(at)}, op, area, version_id, person_id "
        f"FROM ({' UNION ALL '.join(parts)}) AS changes "
        "ORDER BY step, area DESC, version_id, person_id"
    )
    return int(last)


def _counterpart(table: str, column: str, run_id: int) -> str:
    return (
        f"EXISTS (SELECT 1 FROM {table} w WHERE w.person_id = v.person_id "
        f"AND w.restriction_id = v.restriction_id AND w.{column} = {run_id})"
    )


async def feed_erased_person(connection: AsyncConnection, person_id: int, at: datetime) -> None:
    """Add to the feed that a person was erased."""
    await connection.execute(
        insert(change_feed).values(
            publication_no=_last(), happened_at=at, op="erase", person_id=person_id
        )
    )


async def feed_versions(
    connection: AsyncConnection, op: str, area: str, rows: Select[tuple[int, int]], at: datetime
) -> None:
    """Add to the feed that versions are purged, or that an erased person was masked in them.

    Args:
        connection: in the transaction that does it, before they are deleted.
        op: ``purge`` or ``erase``.
        rows: their ``version_id`` and ``person_id``.
    """
    version_id, person_id = rows.subquery().c
    await connection.execute(
        insert(change_feed).from_select(
            COLUMNS,
            select(
                _last(),
                literal(at, UtcTime()),
                literal(op),
                literal(area),
                version_id,
                person_id,
            ),
        )
    )


async def last_publication_no(connection: AsyncConnection) -> int:
    """The last publication number, or the number after which a restored database continues."""
    number: int = (await connection.execute(select(_last()))).scalar_one()
    return number


def _last() -> ScalarSelect[int]:
    """See ``last_publication_no``. Publication numbers grow along the feed."""
    entry = select(change_feed.c.publication_no).order_by(change_feed.c.seq.desc()).limit(1)
    both = union_all(
        select(publication.c.publication_no), select(entry.subquery().c.publication_no)
    ).subquery()
    return select(func.coalesce(func.max(both.c.publication_no), 0)).scalar_subquery()
