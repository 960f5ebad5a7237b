# ruff: noqa: S608 - the texts in these statements are declared, and the numbers are the store's own
"""The figures of a publication, written in its transaction and never changed afterwards.

By code, cause and cohort: restrictions that are open, in effect, added, changed and removed. By
cohort and in total: persons on the roster, confirmed, stale, failing, joined and departed
(``store.runs.denominators``). A publication starts from the figures of the previous one and counts
only the persons whose restrictions changed. It counts all rows if there is no such base: the first
time, after published rows were erased or rewritten (``invalidate_base``), and when a cohort gets a
name for the first time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, false, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.areas.codes import group_of
from worker.core.area import ResourceArea
from worker.core.effect import in_effect_sql, instant_sql
from worker.store.runs.cohorts import (
    CohortNames,
    changed_sql,
    cohort_sql,
    name_cohorts,
)
from worker.store.runs.counted_codes import code_columns
from worker.store.runs.denominators import count_people, people_before_facts
from worker.store.runs.feed import write_feed
from worker.store.runs.labels import archive_labels, publish_labels
from worker.store.schema.fact_tables import (
    DENOMINATORS,
    publication,
    publication_code,
    publication_cohort,
)
from worker.store.schema.tables import run

ZONE: Final = ZoneInfo("Europe/Oslo")

_STANDING: Final = ("open", "in_effect", "persons", "persons_in_effect")
_CHANGES: Final = {"insert": "added", "update": "changed", "close": "removed"}
_KEY: Final = ("area", "code", "level", "cause", "cohort")
_PERSONS: Final = (*DENOMINATORS, "joined", "departed", "persons_in_effect")

_Key: TypeAlias = tuple[str, ...]
"""The values of ``_KEY``."""
_Counts: TypeAlias = dict[_Key, dict[str, int]]


def record_publication(
    connection: Connection,
    run_id: int,
    *,
    returned: Sequence[int] = (),
    is_before_facts: bool = False,
) -> None:
    """Write the facts, the change feed and the earlier labels of a run that is being published.

    Args:
        run_id: the run; its publication number and time are set.
        returned: departed persons who are on the roster again.
        is_before_facts: it was published by a program that wrote no facts. Only the run's totals
            are known of its roster, and no cohorts.
    """
    row = connection.execute(select(run).where(run.c.run_id == run_id)).one()
    number = row.publication_no
    now = _PublishedRun(run_id=run_id, number=number, at=row.published_at)
    feed_from = write_feed(connection, run_id=run_id, number=number, at=row.published_at)
    if not is_before_facts:
        archive_labels(connection, run_id=run_id, number=number)
    people: dict[str, dict[str, int | None]] = defaultdict(lambda: dict.fromkeys(_PERSONS, 0))
    if is_before_facts:
        people[""] |= dict.fromkeys(DENOMINATORS) | people_before_facts(connection, row)
    found = {} if is_before_facts else count_people(connection, row, returned)
    rosters = {cohort: counts.get("roster", 0) for cohort, counts in found.items()}
    names = name_cohorts(connection, number, rosters)
    for cohort, counts in found.items():
        _add(people[names.of(cohort)], counts)
    standing = _Standing(connection, now, _base(connection, number), names)
    if names.is_other_divided or not standing.is_sound():
        standing = _Standing(connection, now, None, names)
    for cohort, holders in standing.holders.items():
        people[cohort]["persons_in_effect"] = holders
    _add_changes(connection, standing.counts, names, feed_from)
    _write(connection, row, standing.counts, people)
    publish_labels(connection, run_id=run_id)


def _write(
    connection: Connection,
    row: Any,
    counts: _Counts,
    people: Mapping[str, Mapping[str, int | None]],
) -> None:
    """Write the rows of a publication, except those that are all zero."""
    number = row.publication_no
    codes = [
        {
            "publication_no": number,
            **dict(zip(_KEY, key, strict=True)),
            "restriction_group": _group(*key[:2]),
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
    totals: dict[str, int | None] = dict.fromkeys(_PERSONS, 0)
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


def _add(totals: dict[str, int | None], values: Mapping[str, int | None]) -> None:
    """Add these numbers; a sum with an unknown number is unknown."""
    for name, value in values.items():
        total = totals[name]
        totals[name] = None if total is None or value is None else total + value


async def invalidate_base(connection: AsyncConnection) -> None:
    """Make the next publication count all rows, because published rows were changed."""
    await connection.execute(
        update(publication).where(publication.c.is_base == true()).values(is_base=false())
    )


def record_missing_facts(connection: Connection) -> None:
    """Write the facts of publications that have none, because an earlier program made them."""
    missing = connection.execute(
        select(run.c.run_id)
        .where(
            run.c.publication_no.is_not(None),
            run.c.publication_no.not_in(select(publication.c.publication_no)),
        )
        .order_by(run.c.publication_no)
    )
    for run_id in missing.scalars().all():
        record_publication(connection, run_id, is_before_facts=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PublishedRun:
    """A published run: its id, publication number and time."""

    run_id: int
    number: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A publication at which is counted, by which cohort of a person ``p``, and added or not."""

    run: _PublishedRun
    cohort: str
    sign: int


def _base(connection: Connection, number: int) -> _PublishedRun | None:
    """The previous publication, if its figures still equal the rows."""
    row = connection.execute(
        select(publication)
        .where(publication.c.publication_no < number)
        .order_by(publication.c.publication_no.desc())
        .limit(1)
    ).one_or_none()
    if row is None or not row.is_base:
        return None
    return _PublishedRun(run_id=row.run_id, number=row.publication_no, at=row.published_at)


class _Standing:
    """What is open at a publication, counted from the base; without one, from all rows.

    Attributes:
        counts: restrictions and persons by area, code, level, cause and cohort.
        holders: persons with a restriction in effect, whatever its area, by cohort.
    """

    def __init__(
        self,
        connection: Connection,
        now: _PublishedRun,
        base: _PublishedRun | None,
        names: CohortNames,
    ) -> None:
        self._connection = connection
        self._names = names
        self.counts: _Counts = _no_counts()
        self.holders: dict[str, int] = defaultdict(int)
        as_now = _Moment(run=now, cohort=cohort_sql(), sign=1)
        if base is None:
            self._count([as_now], "")
            return
        self._take(base)
        as_before = _Moment(run=base, cohort=cohort_sql(before=now.run_id), sign=-1)
        self._count([as_now, as_before], _touched(now, base))

    def is_sound(self) -> bool:
        """Whether no number is negative; otherwise the base did not equal the rows."""
        numbers = [value for values in self.counts.values() for value in values.values()]
        return min([*numbers, *self.holders.values()], default=0) >= 0

    def _take(self, base: _PublishedRun) -> None:
        for row in self._connection.execute(
            select(publication_code).where(publication_code.c.publication_no == base.number)
        ):
            key = tuple(getattr(row, name) for name in _KEY)
            self.counts[key] |= {name: getattr(row, name) for name in _STANDING}
        for row in self._connection.execute(
            select(publication_cohort).where(publication_cohort.c.publication_no == base.number)
        ):
            self.holders[row.cohort] = row.persons_in_effect

    def _count(self, moments: Sequence[_Moment], touched: str) -> None:
        """Add or subtract what is open at publications, of all persons or of those touched."""
        parts = [_standing_sql(area, moment, touched) for moment in moments for area in AREAS]
        for sign, *key, in_cohort, open_, does, persons, holders in self._rows(parts, touched):
            values = self.counts[*key, self._names.of(in_cohort)]
            for name, value in zip(_STANDING, (open_, does, persons, holders), strict=True):
                values[name] += sign * int(value)
        parts = [_holders_sql(moment, touched) for moment in moments]
        for sign, in_cohort, holders in self._rows(parts, touched):
            self.holders[self._names.of(in_cohort)] += sign * int(holders)

    def _rows(self, parts: Sequence[str], touched: str) -> Iterable[Any]:
        found = f"WITH touched AS ({touched}) " if touched else ""
        return self._connection.exec_driver_sql(f"{found}{' UNION ALL '.join(parts)}")


def _no_counts() -> _Counts:
    return defaultdict(lambda: dict.fromkeys((*_STANDING, *_CHANGES.values()), 0))


def _standing_sql(area: ResourceArea, moment: _Moment, touched: str) -> str:
    """What is open at a publication by code, level, cause and cohort."""
    does = in_effect_sql(area.effect, "v", instant_sql(moment.run.at))
    return (
        f"SELECT {moment.sign}, '{area.name}', code, level, cause, {moment.cohort}, SUM(amount), "
        "SUM(does), COUNT(*), SUM(CASE WHEN does > 0 THEN 1 ELSE 0 END) FROM ("
        f"SELECT {code_columns(area)}, v.person_id, COUNT(*) AS amount, "
        f"SUM(CASE WHEN {does} THEN 1 ELSE 0 END) AS does FROM {_published(area, moment, touched)} "
        "GROUP BY 4, 1, 2, 3) AS persons JOIN person p ON p.person_id = persons.person_id "
        "GROUP BY 3, 4, 5, 6"
    )


def _holders_sql(moment: _Moment, touched: str) -> str:
    """Persons with a restriction in effect, by cohort."""
    parts = [
        f"SELECT v.person_id FROM {_published(area, moment, touched)} "
        f"AND {in_effect_sql(area.effect, 'v', instant_sql(moment.run.at))}"
        for area in AREAS
    ]
    return (
        f"SELECT {moment.sign}, {moment.cohort}, COUNT(*) FROM ({' UNION '.join(parts)}) AS "
        "holders JOIN person p ON p.person_id = holders.person_id GROUP BY 2"
    )


def _published(area: ResourceArea, moment: _Moment, touched: str) -> str:
    """The rows of an area that readers saw at a publication."""
    number = moment.run.number
    return (
        f"{area.table}_version v "
        f"JOIN run o ON o.run_id = v.opened_run AND o.publication_no <= {number} "
        "LEFT JOIN run c ON c.run_id = v.closed_run "
        f"WHERE (c.publication_no IS NULL OR c.publication_no > {number})"
        + (" AND v.person_id IN (SELECT person_id FROM touched)" if touched else "")
    )


def _touched(now: _PublishedRun, base: _PublishedRun) -> str:
    """Persons with another cohort or a restriction that changed, began or ended."""
    parts = [changed_sql(now.run_id)]
    for area in AREAS:
        table = f"{area.table}_version"
        parts += [
            f"SELECT person_id FROM {table} WHERE {column} = {now.run_id}"
            for column in ("opened_run", "closed_run")
        ]
        parts += [
            f"SELECT person_id FROM {table} WHERE {column} > {instant_sql(base.at)} "
            f"AND {column} <= {instant_sql(now.at)}"
            for column in (area.effect.begins, area.effect.ends)
            if column
        ]
    return " UNION ".join(parts)


def _add_changes(
    connection: Connection, counts: _Counts, names: CohortNames, feed_from: int
) -> None:
    """Add what was added, changed and removed, from the feed's rows after that number."""
    parts = [
        f"SELECT f.op, '{area.name}', {code_columns(area)}, {cohort_sql()} AS cohort, COUNT(*) "
        f"FROM change_feed f JOIN {area.table}_version v ON v.version_id = f.version_id "
        "JOIN person p ON p.person_id = v.person_id "
        f"WHERE f.seq > {feed_from} AND f.area = '{area.name}' GROUP BY 1, 3, 4, 5, 6"
        for area in AREAS
    ]
    for op, *key, cohort, amount in connection.exec_driver_sql(" UNION ALL ".join(parts)):
        counts[*key, names.of(cohort)][_CHANGES[op]] += amount


def _group(area_name: str, code: str) -> str | None:
    (area,) = (area for area in AREAS if area.name == area_name)
    return group_of(area.effect, code)
