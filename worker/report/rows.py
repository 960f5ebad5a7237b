"""Counts the current rows of one snapshot: how old they are, and when they end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, ColumnElement, and_, case, func, literal_column, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.effect import RestrictionGroup, in_effect_sql, instant_sql
from worker.report.figures import AGES, ENDS, Amount, RowFacts
from worker.views import CURRENT

_Place = ColumnElement[int]
_Found = dict[int, Amount]


async def read_rows(connection: AsyncConnection, at: datetime, cohort: str | None) -> RowFacts:
    """When delays end, how old is what is in effect, and what is listed after its end.

    Args:
        at: the time of the last publication.
        cohort: whose rows are counted; None: everybody's.
    """
    ends: _Found = {}
    ages: _Found = {}
    expired: _Found = {}
    for area in AREAS:
        rows = _CurrentRows(area, at, cohort)
        delayed = and_(rows.does, rows.view.c.restriction_group == RestrictionGroup.DELAYED)
        created, over = rows.view.c.source_created_at, rows.view.c.ends_at
        await _count(connection, ends, rows.by(rows.time_left, delayed))
        await _count(connection, ages, rows.by(rows.age(created), rows.does))
        await _count(connection, expired, rows.by(rows.age(over), rows.is_over))
    return RowFacts(
        ends=[ends.get(place, Amount()) for place in range(len(ENDS) + 2)],
        ages=[ages.get(place, Amount()) for place in range(len(AGES) + 2)],
        expired=[expired.get(place, Amount()) for place in range(len(AGES) + 1)],
    )


async def _count(connection: AsyncConnection, found: _Found, query: Any) -> None:
    """Add what a query of ``_CurrentRows.by`` finds, each amount at its place."""
    for place, restrictions, persons in await connection.execute(query):
        found[place] = found.get(place, Amount()) + Amount(restrictions, persons)


class _CurrentRows:
    """The current rows of an area, and what is asked of them at an instant."""

    def __init__(self, area: ResourceArea, at: datetime, cohort: str | None) -> None:
        self._at = at
        self._cohort = cohort
        self.view = CURRENT[area.name].table()
        condition = in_effect_sql(area.effect, CURRENT[area.name].name, instant_sql(at))
        self.does: ColumnElement[bool] = literal_column(
            f"({condition})", Boolean(create_constraint=False)
        )
        group = self.view.c.restriction_group
        restricts = or_(group.is_(None), group != RestrictionGroup.NONE)
        self.is_over = and_(not_(self.does), self.view.c.ends_at <= at, restricts)

    def by(self, place: _Place, which: ColumnElement[bool]) -> Any:
        """A query for the restrictions and persons of a condition, by their place."""
        persons = func.count(self.view.c.person_key.distinct())
        query = select(place.label("place"), func.count(), persons).select_from(self.view)
        if self._cohort is not None:
            query = query.where(self.view.c.cohort == self._cohort)
        return query.where(which).group_by("place")

    @property
    def time_left(self) -> _Place:
        """The place in ``ENDS`` of the time until a row ends."""
        ends = self.view.c.ends_at
        return _place(ends, [ends <= self._at + timedelta(days=days) for days in ENDS])

    def age(self, since: ColumnElement[Any]) -> _Place:
        """The place in ``AGES`` of the time since then."""
        return _place(since, [since > self._at - timedelta(days=days) for days in AGES])


def _place(time: ColumnElement[Any], bounds: Sequence[ColumnElement[bool]]) -> _Place:
    """The number of the first bound that a time keeps; one for none of them, and one for NULL."""
    cases: list[tuple[ColumnElement[bool], _Place]] = [
        (time.is_(None), literal_column(str(len(bounds) + 1))),
        *((bound, literal_column(str(place))) for place, bound in enumerate(bounds)),
    ]
    return case(*cases, else_=literal_column(str(len(bounds))))
