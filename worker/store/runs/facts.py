"""The figures of a publication, written in its transaction and never changed afterwards.

By code, cause and cohort: restrictions that are open, in effect, added, changed and removed. By
cohort and in total: persons on the roster, confirmed, stale, failing, joined and departed
(``store.runs.denominators``). A publication starts from the figures of the previous one and counts
only the persons whose restrictions changed. It counts all rows if there is no such base: the first
time, after published rows were erased (``invalidate_base``), and when a cohort gets a name for the
first time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, false, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import area_named
from worker.core.effect import group_of
from worker.store.runs.cohorts import CohortNames, name_cohorts
from worker.store.runs.denominators import count_people
from worker.store.runs.feed import write_feed
from worker.store.runs.labels import archive_labels, publish_labels
from worker.store.runs.statements import (
    Moment,
    PublishedRun,
    changes_sql,
    cohort_sql,
    holders_sql,
    standing_sql,
    touched_sql,
)
from worker.store.schema.fact_tables import (
    DENOMINATORS,
    MOVEMENTS,
    publication,
    publication_code,
    publication_cohort,
)
from worker.store.schema.tables import run

ZONE: Final = ZoneInfo("Europe/Oslo")

_STANDING: Final = ("open", "in_effect", "persons", "persons_in_effect")
_CHANGES: Final = {"insert": "added", "update": "changed", "close": "removed"}
_KEY: Final = ("area", "code", "level", "cause", "cohort")
_PERSONS: Final = (*DENOMINATORS, *MOVEMENTS)

_Key: TypeAlias = tuple[str, ...]
"""The values of ``_KEY``."""
_Counts: TypeAlias = dict[_Key, dict[str, int]]


def record_publication(
    connection: Connection, run_id: int, *, returned: Sequence[int] = ()
) -> None:
    """Write the facts, the change feed and the earlier labels of a run that is being published.

    Args:
        run_id: the run; its publication number and time are set.
        returned: departed persons who are on the roster again.
    """
    row = connection.execute(select(run).where(run.c.run_id == run_id)).one()
    number = row.publication_no
    now = PublishedRun(run_id=run_id, number=number, at=row.published_at)
    feed_from = write_feed(connection, now)
    archive_labels(connection, run_id=run_id, number=number)
    people: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_PERSONS, 0))
    found = count_people(connection, row, returned)
    rosters = {cohort: counts.get("roster", 0) for cohort, counts in found.items()}
    names = name_cohorts(connection, number, rosters)
    for cohort, counts in found.items():
        _add(people[names.of(cohort)], counts)
    standing = _Standing(connection, now, _base(connection, number), names)
    if names.is_other_divided or not standing.is_sound():
        standing = _Standing(connection, now, None, names)
    for cohort, holders in standing.holders.items():
        people[cohort]["persons_in_effect"] = holders
    for op, *key, cohort, amount in connection.exec_driver_sql(changes_sql(feed_from)):
        standing.counts[*key, names.of(cohort)][_CHANGES[op]] += amount
    _write(connection, row, standing.counts, people)
    publish_labels(connection, run_id=run_id)


def _write(
    connection: Connection,
    row: Any,
    counts: _Counts,
    people: Mapping[str, Mapping[str, int]],
) -> None:
    """Write the rows of a publication, except those that are all zero."""
    number = row.publication_no
    codes = [
        {
            "publication_no": number,
            **dict(zip(_KEY, key, strict=True)),
            "restriction_group": group_of(area_named(key[0]).effect, key[1]),
            **values,
        }
        for key, values in sorted(counts.items())
        if any(values.values())
    ]
    if codes:
        connection.execute(insert(publication_code), codes)
    cohorts = [
        {"publication_no": number, "cohort": cohort, **values}
        for cohort, values in sorted(people.items())
        if any(values.values())
    ]
    if cohorts:
        connection.execute(insert(publication_cohort), cohorts)
    totals = dict.fromkeys(_PERSONS, 0)
    for values in people.values():
        _add(totals, values)
    connection.execute(
        insert(publication).values(
            publication_no=number,
            run_id=row.run_id,
            kind=row.kind,
            published_at=row.published_at,
            day=row.published_at.astimezone(ZONE).date().isoformat(),
            is_base=True,
            **totals,
        )
    )


def _add(totals: dict[str, int], values: Mapping[str, int]) -> None:
    for name, value in values.items():
        totals[name] += value


async def invalidate_base(connection: AsyncConnection) -> None:
    """Make the next publication count all rows, because published rows were changed."""
    await connection.execute(
        update(publication).where(publication.c.is_base == true()).values(is_base=false())
    )


def _base(connection: Connection, number: int) -> PublishedRun | None:
    """The previous publication, if its figures still equal the rows."""
    row = connection.execute(
        select(publication)
        .where(publication.c.publication_no < number)
        .order_by(publication.c.publication_no.desc())
        .limit(1)
    ).one_or_none()
    if row is None or not row.is_base:
        return None
    return PublishedRun(run_id=row.run_id, number=row.publication_no, at=row.published_at)


class _Standing:
    """What is open at a publication, counted from the base; without one, from all rows.

    Attributes:
        counts: restrictions and persons by area, code, level, cause and cohort.
        holders: persons with a restriction in effect, whatever its area, by cohort.
    """

    def __init__(
        self,
        connection: Connection,
        now: PublishedRun,
        base: PublishedRun | None,
        names: CohortNames,
    ) -> None:
        self._connection = connection
        self._names = names
        names_of_all = (*_STANDING, *_CHANGES.values())
        self.counts: _Counts = defaultdict(lambda: dict.fromkeys(names_of_all, 0))
        self.holders: dict[str, int] = defaultdict(int)
        as_now = Moment(run=now, cohort=cohort_sql(), sign=1)
        if base is None:
            self._count([as_now], "")
            return
        self._take(base)
        as_before = Moment(run=base, cohort=cohort_sql(before=now.run_id), sign=-1)
        self._count([as_now, as_before], touched_sql(now, base))

    def is_sound(self) -> bool:
        """Whether no number is negative; otherwise the base did not equal the rows."""
        numbers = [value for values in self.counts.values() for value in values.values()]
        return min([*numbers, *self.holders.values()], default=0) >= 0

    def _take(self, base: PublishedRun) -> None:
        for row in self._connection.execute(
            select(publication_code).where(publication_code.c.publication_no == base.number)
        ):
            key = tuple(getattr(row, name) for name in _KEY)
            self.counts[key] |= {name: getattr(row, name) for name in _STANDING}
        for row in self._connection.execute(
            select(publication_cohort).where(publication_cohort.c.publication_no == base.number)
        ):
            self.holders[row.cohort] = row.persons_in_effect

    def _count(self, moments: Sequence[Moment], touched: str) -> None:
        """Add or subtract what is open at publications, of all persons or of those touched."""
        found = self._connection.exec_driver_sql(standing_sql(moments, touched))
        for sign, *key, in_cohort, open_, does, persons, holders in found:
            values = self.counts[*key, self._names.of(in_cohort)]
            for name, value in zip(_STANDING, (open_, does, persons, holders), strict=True):
                values[name] += sign * int(value)
        found = self._connection.exec_driver_sql(holders_sql(moments, touched))
        for sign, in_cohort, holders in found:
            self.holders[self._names.of(in_cohort)] += sign * int(holders)
