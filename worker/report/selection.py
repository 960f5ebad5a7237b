"""Which rows an export takes of a view, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, Select, TableClause, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import area_named
from worker.areas.reporting import KEYS, Kind
from worker.core.effect import in_effect_sql, instant_sql
from worker.report.views import AREA_VIEWS, CHANGE_FEED, EPISODE, PUBLICATION, RUN, View

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The publication that an export shows; ``run_id`` is None once its run is gone."""

    number: int
    at: datetime
    run_id: int | None


async def last_publication(connection: AsyncConnection) -> Shown | None:
    """The publication that readers see; None before the first one."""
    facts, run = PUBLICATION.table(), RUN.table()
    found = await connection.execute(
        select(facts.c.publication_no, facts.c.published_at, run.c.run_id)
        .outerjoin(run, run.c.publication_no == facts.c.publication_no)
        .order_by(facts.c.publication_no.desc())
        .limit(1)
    )
    row = found.one_or_none()
    return row and Shown(number=row.publication_no, at=row.published_at, run_id=row.run_id)


def rows_of(
    view: View,
    columns: Sequence[str],
    shown: Shown | None,
    *,
    dialect: str,
    behind: int | None = None,
) -> Select[Any]:
    """The rows of a view in the order of its primary key, by the bytes of a text.

    What depends on the time of the question is as of the publication, so that two exports of one
    publication are the same.

    Args:
        view: the view.
        columns: those that are taken.
        shown: the publication; None: there is none, and no row that depends on a time.
        dialect: SQLAlchemy's name of the database.
        behind: of the change feed, only what is behind this place.
    """
    table = view.table()
    query = select(*(_column(view, table, name, shown) for name in columns))
    if behind is not None:
        query = query.where(table.c.seq > behind)
    return query.order_by(*order_of(view, table, dialect))


def order_of(view: View, table: TableClause, dialect: str) -> list[ColumnElement[Any]]:
    """The primary key of the view; a text sorts by its bytes in both databases."""
    order: list[ColumnElement[Any]] = []
    for name in KEYS[view.name]:
        is_text = view.columns[name] in {Kind.TEXT, Kind.DATE}
        by_bytes = is_text and dialect == "postgresql"
        order.append(table.c[name].collate("C") if by_bytes else table.c[name])
    return order


def _column(view: View, table: TableClause, name: str, shown: Shown | None) -> ColumnElement[Any]:
    if name != "is_in_effect" or shown is None:
        return table.c[name]
    effect = area_named(AREA_VIEWS[view.name][0]).effect
    condition = in_effect_sql(effect, view.name, instant_sql(shown.at))
    return literal_column(condition, Boolean(create_constraint=False)).label(name)


def until(rows: Sequence[Any], view: View, columns: Sequence[str], at: datetime) -> Sequence[Any]:
    """Count the days of an episode that has not ended until the publication."""
    if view is not EPISODE:
        return rows
    started, ended, days = map(columns.index, ("started_at", "ended_at", "days"))
    return [
        row
        if row[ended] is not None
        else (*row[:days], max((at - row[started]) // _DAY, 0), *row[days + 1 :])
        for row in rows
    ]


async def last_of(connection: AsyncConnection, number: int) -> int:
    """The place in the feed behind which everything is newer than a publication.

    Erasures and purges that came after it have its number, and are newer.
    """
    feed = CHANGE_FEED.table()
    last = select(func.coalesce(func.max(feed.c.seq), 0)).where(
        feed.c.publication_no <= number, feed.c.op.not_in(["erase", "purge"])
    )
    found: int = (await connection.execute(last)).scalar_one()
    return found
