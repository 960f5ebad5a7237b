"""Reads the report's contents from the facts of the publications, in one snapshot.

It reads no row of a person or restriction. So the report takes as long for a million persons as
for ten, and erasing a person does not change the report of an earlier publication.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.effect import Figure
from worker.core.model import RunKind, RunStatus
from worker.core.times import is_in_the_future
from worker.core.value import Value
from worker.errors import FailureKind, UsageError
from worker.report.figures import (
    CHANGE_DAYS,
    DAYS_SHOWN,
    FRESH,
    UNKNOWN,
    Amount,
    CodeKey,
    CohortFacts,
    NightFacts,
    ReportFacts,
    RunFacts,
    SnapshotState,
    Week,
)
from worker.views import COHORT, FIGURE, PUBLICATION, RUN, Read, begin_snapshot

_ZONE: Final = ZoneInfo("Europe/Oslo")
"""The time zone of the days in the facts of publications."""
_SLACK_DAYS: Final = 7
"""How many days earlier than ``CHANGE_DAYS`` the compared night may be."""
_CHANGES: Final = ("insert", "update", "close")
"""The operations that a ``Week`` counts, in order."""
_COHORTS_NAMED: Final = 20
"""Maximum number of cohorts in a message."""


async def read_facts(read: Read, *, now: datetime, cohort: str | None = None) -> ReportFacts:
    """Read the report's facts in one snapshot.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        cohort: the clinic or department to report. None: all persons.

    Raises:
        UsageError: no publication has this cohort.
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> ReportFacts:
        await begin_snapshot(connection)
        return await _Queries(connection, now.astimezone(UTC), cohort).facts()

    return await read(work)


class _FigureRow(Value, frozen=True):
    """One figure of a publication: its dimensions and its amount."""

    figure: str
    group: str
    code: str
    level: str
    amount: Amount


class _Queries:
    """The queries of one snapshot."""

    def __init__(self, connection: AsyncConnection, now: datetime, cohort: str | None) -> None:
        self._connection = connection
        self._now = now
        self._cohort = cohort

    async def facts(self) -> ReportFacts:
        run = RUN.table()
        is_published = run.c.status == RunStatus.PUBLISHED
        nights = await self._nights()
        if self._cohort is not None and not nights:
            await self._refuse_cohort()
        last, then = nights[-1] if nights else None, _compared_night(nights)
        figures = await self._figures([night.publication_no for night in (last, then) if night])
        last_figures = figures[last.publication_no] if last else []
        # A backfill is newer than the last full run, but confirms only its own persons.
        last_sync = await self._run(run, is_published, run.c.kind == RunKind.SYNC)
        published = await self._run(run, is_published)
        latest = select(func.max(run.c.run_id)).where(run.c.status != RunStatus.ABANDONED)
        return ReportFacts(
            made_at=self._now,
            state=_state(self._now, last_sync, published, last),
            cohort=self._cohort,
            published=published,
            last_sync=last_sync,
            latest=await self._run(run, run.c.run_id == latest.scalar_subquery()),
            nights=nights,
            then=then,
            codes=_by_key(last_figures),
            codes_then=_by_key(figures[then.publication_no] if then else []),
            causes=_by_code(last_figures, Figure.CAUSE),
            ages=_by_code(last_figures, Figure.AGE),
            ends=_by_code(last_figures, Figure.ENDS),
            expired=_by_code(last_figures, Figure.EXPIRED),
            week=_week(last_figures),
            week_expired=_by_group(last_figures, Figure.WEEK_EXPIRED),
            cohorts=await self._cohorts(last) if last and self._cohort is None else (),
            withheld=await self._withheld(nights),
        )

    async def _rows(self, query: Any) -> Sequence[Any]:
        return (await self._connection.execute(query)).all()

    def _of_cohort(self, query: Any, view: Any) -> Any:
        """Restrict a query to the report's cohort, if it has one."""
        return query if self._cohort is None else query.where(view.c.cohort == self._cohort)

    async def _run(self, run: Any, *conditions: ColumnElement[bool]) -> RunFacts | None:
        """Return the run with the newest publication that meets these conditions."""
        names = RunFacts.__struct_fields__
        query = select(*(run.c[name] for name in names)).where(*conditions)
        rows = await self._rows(query.order_by(run.c.publication_no.desc()).limit(1))
        return RunFacts(**dict(zip(names, rows[0], strict=True))) if rows else None

    async def _nights(self) -> tuple[NightFacts, ...]:
        publication = PUBLICATION.table()
        newest = (await self._rows(select(func.max(publication.c.day))))[0][0]
        if newest is None:
            return ()
        # The trend has one number a day, so a backfill replaces the figures of the night.
        last_of_day = select(func.max(publication.c.publication_no)).group_by(publication.c.day)
        facts = (PUBLICATION if self._cohort is None else COHORT).table()
        rows = await self._rows(
            self._of_cohort(select(facts), facts)
            .where(
                facts.c.day >= newest - timedelta(days=DAYS_SHOWN - 1),
                facts.c.publication_no.in_(last_of_day),
            )
            .order_by(facts.c.publication_no)
        )
        figures = await self._figures([row.publication_no for row in rows], Figure.GROUP)
        return tuple(
            NightFacts(
                publication_no=row.publication_no,
                published_at=row.published_at,
                day=row.day,
                roster=row.roster,
                confirmed=row.confirmed,
                stale=row.stale,
                missing=row.missing,
                failed=_failed(row),
                persons=row.persons_in_effect,
                groups=_by_group(figures[row.publication_no], Figure.GROUP),
            )
            for row in rows
        )

    async def _figures(
        self, numbers: Sequence[int], *figures: Figure
    ) -> Mapping[int, Sequence[_FigureRow]]:
        """Read figures of publications, by publication number. Default: all figures."""
        # A person has one cohort, so a sum over cohorts counts no person twice.
        view = FIGURE.table()
        names = ("publication_no", "figure", "restriction_group", "code", "level")
        keys = [view.c[name] for name in names]
        sums = [func.sum(view.c[name]) for name in ("restrictions", "persons")]
        query = self._of_cohort(select(*keys, *sums), view).where(
            view.c.publication_no.in_(numbers), view.c.figure.in_(figures or Figure)
        )
        by_number: dict[int, list[_FigureRow]] = {number: [] for number in numbers}
        for number, figure, group, code, level, *totals in await self._rows(query.group_by(*keys)):
            amount = Amount(*map(int, totals))  # PostgreSQL sums integers as Decimal
            by_number[number].append(_FigureRow(figure, group or UNKNOWN, code, level, amount))
        return by_number

    async def _cohorts(self, last: NightFacts) -> tuple[CohortFacts, ...]:
        """Read the figures of each cohort. Empty if no person has a cohort."""
        view, cohort = FIGURE.table(), COHORT.table()
        weeks: dict[str | None, dict[str, Amount]] = {}
        changes = select(view.c.cohort, view.c.code, view.c.restrictions, view.c.persons).where(
            view.c.publication_no == last.publication_no, view.c.figure == Figure.WEEK
        )
        for name, op, *amount in await self._rows(changes):
            weeks.setdefault(name, {})[op] = Amount(*amount)
        rows = await self._rows(
            select(cohort.c.cohort, cohort.c.roster, cohort.c.persons_in_effect)
            .where(cohort.c.publication_no == last.publication_no, _has_persons(cohort))
            .order_by(cohort.c.cohort)
        )
        # One row without a name would repeat the totals of the page.
        if not any(row.cohort for row in rows):
            return ()
        return tuple(
            CohortFacts(
                cohort=row.cohort,
                roster=row.roster,
                in_effect=row.persons_in_effect,
                week=_changes(weeks.get(row.cohort, {})),
            )
            for row in rows
        )

    async def _refuse_cohort(self) -> NoReturn:
        """Reject a cohort that no publication has.

        Raises:
            UsageError: always. The hint lists the cohorts of the last publication.
        """
        view = COHORT.table()
        last = select(func.max(view.c.publication_no)).scalar_subquery()
        cohorts = select(view.c.cohort).where(
            view.c.publication_no == last, view.c.cohort.is_not(None), _has_persons(view)
        )
        rows = await self._rows(cohorts.order_by(view.c.cohort).limit(_COHORTS_NAMED))
        names = ", ".join(row.cohort for row in rows)
        raise UsageError(
            f"no publication has a cohort {self._cohort!r}",
            hint=f"the cohorts are {names}" if names else "no person on the roster has a cohort",
        )

    async def _withheld(self, nights: Sequence[NightFacts]) -> tuple[date, ...]:
        if not nights:
            return ()
        run = RUN.table()
        rows = await self._rows(
            select(run.c.started_at).where(
                run.c.status == RunStatus.WITHHELD, run.c.started_at >= nights[0].published_at
            )
        )
        days = {row.started_at.astimezone(_ZONE).date() for row in rows}
        # The trend ends with the last night, so a later withheld run is not in it.
        before = {day for day in days if day < nights[-1].day}
        return tuple(sorted(before - {night.day for night in nights}))


def _has_persons(cohort: Any) -> ColumnElement[bool]:
    """Whether a row of ``COHORT`` has persons."""
    # Missing persons are not on the roster, but may have restrictions in effect.
    return or_(cohort.c.roster > 0, cohort.c.missing > 0)


def _failed(row: Any) -> Mapping[str, int]:
    persons = {kind.value: getattr(row, f"failed_{kind}") or 0 for kind in FailureKind}
    return {kind: count for kind, count in persons.items() if count}


def _by_key(rows: Iterable[_FigureRow]) -> Mapping[CodeKey, Amount]:
    """Amounts by code and level."""
    codes = (row for row in rows if row.figure == Figure.CODE)
    return {CodeKey(row.group, row.code, row.level): row.amount for row in codes}


def _by_code(rows: Iterable[_FigureRow], figure: Figure) -> Mapping[str, Amount]:
    return {row.code: row.amount for row in rows if row.figure == figure}


def _by_group(rows: Iterable[_FigureRow], figure: Figure) -> Mapping[str, Amount]:
    return {row.group: row.amount for row in rows if row.figure == figure}


def _week(rows: Iterable[_FigureRow]) -> Mapping[str, Week]:
    groups: dict[str, dict[str, Amount]] = {}
    for row in rows:
        if row.figure == Figure.WEEK_GROUP:
            groups.setdefault(row.group, {})[row.code] = row.amount
    return {group: _changes(amounts) for group, amounts in groups.items()}


def _changes(amounts: Mapping[str, Amount]) -> Week:
    return [amounts.get(op, Amount()) for op in _CHANGES]


def _compared_night(nights: Sequence[NightFacts]) -> NightFacts | None:
    """Return the night to compare the last one with."""
    if not nights:
        return None
    latest = nights[-1].day - timedelta(days=CHANGE_DAYS)
    # The night of that day may be missing.
    earliest = latest - timedelta(days=_SLACK_DAYS)
    return next((night for night in reversed(nights) if earliest <= night.day <= latest), None)


def _state(
    now: datetime,
    last_sync: RunFacts | None,
    published: RunFacts | None,
    last: NightFacts | None,
) -> SnapshotState:
    if last is None or published is None:
        return SnapshotState.EMPTY
    if is_in_the_future(last.published_at, now):
        return SnapshotState.FUTURE
    # A renamed or closed clinic has figures only in earlier publications.
    if last.published_at != published.published_at:
        return SnapshotState.OLD
    if last_sync is None:
        return SnapshotState.GAPS
    if last_sync.age(now) > FRESH:
        return SnapshotState.OLD
    # A line that cannot be read has no person and no cohort, so it is a gap in every report.
    if last.stale or last_sync.roster_faults:
        return SnapshotState.GAPS
    return SnapshotState.COMPLETE
