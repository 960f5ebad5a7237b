"""Selects the rows that an export takes from a view, and their order."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    TableClause,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    null,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import area_named
from worker.areas.meanings import Kind, view_keys
from worker.core.effect import ends_at_sql, group_sql, in_effect_sql, instant_sql
from worker.core.value import Value
from worker.errors import UsageError
from worker.views import (
    AREA_VIEWS,
    CHANGE_FEED,
    COHORT,
    CURRENT,
    DAILY,
    EPISODE,
    HISTORY,
    LABEL,
    PUBLICATION,
    RUN,
    View,
    type_of,
)

_DAY: Final = timedelta(days=1)

OF_THE_PAST: Final = (
    *(View(name=name) for name in AREA_VIEWS),
    DAILY,
    PUBLICATION,
    COHORT,
    View(name="report_code"),
    View(name="report_dictionary"),
)
"""Views that can be exported as of an earlier publication; the last two are constant."""
NOT_OF_THE_PAST: Final = frozenset({"last_confirmed_at", "is_stale"})
"""Columns of the current views whose earlier values are not stored; they are exported empty."""
_LABELS: Final = ("local_ref", "cohort")


class ExportedPublication(Value, frozen=True, kw_only=True):
    """The publication that an export shows; ``run_id`` is None once its run is gone."""

    number: int
    at: datetime
    run_id: int | None


async def last_publication(
    connection: AsyncConnection, as_of: datetime | None = None
) -> ExportedPublication | None:
    """The publication that readers see, or saw at a time; None before the first one.

    Raises:
        UsageError: nothing was published by that time.
    """
    facts, run = PUBLICATION.table(), RUN.table()
    query = select(facts.c.publication_no, facts.c.published_at, run.c.run_id).outerjoin(
        run, run.c.publication_no == facts.c.publication_no
    )
    if as_of is not None:
        query = query.where(facts.c.published_at <= as_of)
    found = await connection.execute(query.order_by(facts.c.publication_no.desc()).limit(1))
    row = found.one_or_none()
    if row is not None:
        return ExportedPublication(
            number=row.publication_no, at=row.published_at, run_id=row.run_id
        )
    if as_of is None:
        return None
    first = (await connection.execute(select(func.min(facts.c.published_at)))).scalar_one()
    raise UsageError(
        f"nothing was published by {as_of.isoformat()}",
        hint=f"the first publication was at {first.isoformat()}"
        if first
        else "nothing has been published yet",
    )


def rows_of(
    view: View,
    columns: Sequence[str],
    shown: ExportedPublication | None,
    *,
    dialect: str,
    behind: int | None = None,
) -> Select[Any]:
    """The rows of a view in the order of its primary key; text sorts by its bytes.

    Values that depend on the time of the query are as of the publication, so that two exports of
    one publication are the same.

    Args:
        behind: of the change feed, only rows after this ``seq``.
    """
    table = view.table()
    query = select(*(_column(view, table, name, shown) for name in columns))
    if behind is not None:
        query = query.where(table.c.seq > behind)
    return query.order_by(*order_of(view, table, dialect))


def past_rows_of(
    view: View, columns: Sequence[str], shown: ExportedPublication, *, dialect: str
) -> Select[Any]:
    """The rows that a view of ``OF_THE_PAST`` had at a publication.

    Publication numbers decide, so that a wrong clock does not matter.
    """
    if view.name not in AREA_VIEWS:
        table = view.table()
        query = select(*(table.c[name] for name in columns))
        if "publication_no" in view.columns:
            query = query.where(table.c.publication_no <= shown.number)
        return query.order_by(*order_of(view, table, dialect))
    area, what = AREA_VIEWS[view.name]
    table = HISTORY[area].table()
    is_closed = func.coalesce(table.c.closed_publication <= shown.number, false())
    if what == "history":
        taken = [_until_closed(table, name, is_closed) for name in columns]
        query = select(*taken)
    else:
        label = LABEL.table()
        taken = [
            _past_column(area, label if name in _LABELS else table, name, shown) for name in columns
        ]
        then = and_(
            label.c.person_key == table.c.person_key,
            label.c.since_publication <= shown.number,
            func.coalesce(label.c.until_publication > shown.number, true()),
        )
        query = select(*taken).outerjoin_from(table, label, then).where(not_(is_closed))
    query = query.where(table.c.opened_publication <= shown.number)
    return query.order_by(*order_of(view, table, dialect))


def _until_closed(
    table: TableClause, name: str, is_closed: ColumnElement[bool]
) -> ColumnElement[Any]:
    """A column of the history, without a closing that came later."""
    if name in {"valid_to", "closed_run", "closed_publication"}:
        return case((is_closed, table.c[name])).label(name)
    return table.c[name]


def _past_column(
    area: str, table: TableClause, name: str, shown: ExportedPublication
) -> ColumnElement[Any]:
    """A column of the current view, from the history or the labels."""
    effect = area_named(area).effect
    match name:
        case "is_in_effect":
            sql = in_effect_sql(effect, table.name, instant_sql(shown.at))
        case "ends_at":
            sql = ends_at_sql(effect, table.name)
        case "restriction_group":
            sql = group_sql(effect, table.name)
        case "publication_no":
            sql = str(shown.number)
        case _ if name in NOT_OF_THE_PAST:
            return null().label(name)
        case _:
            return table.c[name]
    kind = CURRENT[area].columns[name]
    return literal_column(sql, type_of(kind)).label(name)


async def open_counts_at(
    connection: AsyncConnection, shown: ExportedPublication
) -> Mapping[str, int]:
    """The number of open restrictions of each area at a publication, from its facts."""
    facts = DAILY.table()
    found = await connection.execute(
        select(facts.c.area, func.sum(facts.c.open))
        .where(facts.c.publication_no == shown.number)
        .group_by(facts.c.area)
    )
    return {area: int(amount) for area, amount in found}


def order_of(view: View, table: TableClause, dialect: str) -> list[ColumnElement[Any]]:
    """The primary key of the view; text sorts by its bytes in both databases."""
    order: list[ColumnElement[Any]] = []
    for name in view_keys()[view.name]:
        is_text = view.columns[name] is Kind.TEXT
        by_bytes = is_text and dialect == "postgresql"
        order.append(table.c[name].collate("C") if by_bytes else table.c[name])
    return order


def _column(
    view: View, table: TableClause, name: str, shown: ExportedPublication | None
) -> ColumnElement[Any]:
    if name != "is_in_effect" or shown is None:
        return table.c[name]
    effect = area_named(AREA_VIEWS[view.name][0]).effect
    condition = in_effect_sql(effect, view.name, instant_sql(shown.at))
    return literal_column(condition, type_of(Kind.BOOLEAN)).label(name)


def until(rows: Sequence[Any], view: View, columns: Sequence[str], at: datetime) -> Sequence[Any]:
    """Count the days of an open episode up to the publication."""
    if view != EPISODE:
        return rows
    started, ended, days = map(columns.index, ("started_at", "ended_at", "days"))
    return [
        row
        if row[ended] is not None
        else (*row[:days], max((at - row[started]) // _DAY, 0), *row[days + 1 :])
        for row in rows
    ]


def require_published(number: int, shown: ExportedPublication | None) -> None:
    """Refuse a number that no publication has had.

    Raises:
        UsageError: with the last number.
    """
    last = shown.number if shown else 0
    if number > last:
        known = f"the last one is {last}" if shown else "nothing has been published yet"
        raise UsageError(
            f"publication {number} does not exist; {known}",
            hint="the manifest of the export that you took last names its publication_no; after a "
            "restore from a backup take a full export",
        )


async def last_of(connection: AsyncConnection, number: int) -> int:
    """The ``seq`` after which all rows of the feed are newer than a publication.

    Erasures and purges after a publication have its number, but are newer.
    """
    feed = CHANGE_FEED.table()
    last = select(func.coalesce(func.max(feed.c.seq), 0)).where(
        feed.c.publication_no <= number, feed.c.op.not_in(["erase", "purge"])
    )
    found: int = (await connection.execute(last)).scalar_one()
    return found
