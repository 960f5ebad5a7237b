"""Reads the report's contents from the facts of the publications, in one snapshot.

It reads no row about a person or a restriction. So the report takes as long for a million people
as for ten, and erasing a person does not change the report of an earlier publication.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.effect import Figure
from worker.core.model import RunKind, RunStatus
from worker.core.times import is_of_the_future
from worker.core.value import Value
from worker.errors import FailureKind, UsageError
from worker.report.figures import (
    CHANGE_DAYS,
    DAYS_SHOWN,
    FRESH,
    OTHER,
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
"""How much earlier than asked for the night of a comparison may be."""
_MOVES: Final = ("insert", "update", "close")
"""What the parts of a ``Week`` are called in the facts."""
_UNSTATED: Final = "Undefined"
"""PTS's code for a cause that is not stated."""
_COHORTS_NAMED: Final = 20
"""As many as a message may name."""


async def read_facts(read: Read, *, now: datetime, cohort: str | None = None) -> ReportFacts:
    """Read the report's facts in one snapshot.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        cohort: the clinic or department that the report is about; None: all persons.

    Raises:
        UsageError: nothing is published about such a cohort.
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> ReportFacts:
        await begin_snapshot(connection)
        return await _Queries(connection, now.astimezone(UTC), cohort).facts()

    return await read(work)


class _Counted(Value, frozen=True):
    """One figure of a publication: by what it is divided, and how much that is."""

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
        last, then = nights[-1] if nights else None, _before(nights)
        figures = await self._figures([night.publication_no for night in (last, then) if night])
        now = figures[last.publication_no] if last else []
        last_sync = await self._run(run, is_published, run.c.kind == RunKind.SYNC)
        newest = select(func.max(run.c.run_id)).where(run.c.status != RunStatus.ABANDONED)
        return ReportFacts(
            made_at=self._now,
            state=_state(self._now, last_sync, last),
            cohort=self._cohort,
            published=await self._run(run, is_published),
            last_sync=last_sync,
            latest=await self._run(run, run.c.run_id == newest.scalar_subquery()),
            nights=nights,
            then=then,
            codes=_by_key(now),
            codes_then=_by_key(figures[then.publication_no] if then else []),
            causes=_causes(now),
            ages=_by_code(now, Figure.AGE),
            ends=_by_code(now, Figure.ENDS),
            expired=_by_code(now, Figure.EXPIRED),
            week=_week(now),
            week_expired=_by_group(now, Figure.WEEK_EXPIRED),
            cohorts=await self._cohorts(last) if last and self._cohort is None else (),
            withheld=await self._withheld(nights),
        )

    async def _rows(self, query: Any) -> Sequence[Any]:
        return (await self._connection.execute(query)).all()

    def _of_cohort(self, query: Any, view: Any) -> Any:
        """The rows of the cohort in question."""
        return query if self._cohort is None else query.where(view.c.cohort == self._cohort)

    async def _run(self, run: Any, *conditions: ColumnElement[bool]) -> RunFacts | None:
        """The run of the last publication among those that meet these conditions."""
        names = RunFacts.__struct_fields__
        query = select(*(run.c[name] for name in names)).where(*conditions)
        rows = await self._rows(query.order_by(run.c.publication_no.desc()).limit(1))
        return RunFacts(**dict(zip(names, rows[0], strict=True))) if rows else None

    async def _nights(self) -> tuple[NightFacts, ...]:
        every = PUBLICATION.table()
        newest = (await self._rows(select(func.max(every.c.day))))[0][0]
        if newest is None:
            return ()
        last_of_day = select(func.max(every.c.publication_no)).group_by(every.c.day)
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
    ) -> Mapping[int, Sequence[_Counted]]:
        """These figures of publications or all of them, by the publication's number.

        A person has one cohort, so the sum over cohorts has no duplicates.
        """
        view = FIGURE.table()
        names = ("publication_no", "figure", "restriction_group", "code", "level")
        keys = [view.c[name] for name in names]
        sums = [func.sum(view.c[name]) for name in ("restrictions", "persons")]
        query = self._of_cohort(select(*keys, *sums), view).where(
            view.c.publication_no.in_(numbers), view.c.figure.in_(figures or Figure)
        )
        found: dict[int, list[_Counted]] = {number: [] for number in numbers}
        for number, figure, group, code, level, *amount in await self._rows(query.group_by(*keys)):
            of_it = Amount(*map(int, amount))
            found[number].append(_Counted(figure, group or UNKNOWN, code, level, of_it))
        return found

    async def _cohorts(self, last: NightFacts) -> tuple[CohortFacts, ...]:
        """By cohort, if any person has one."""
        view, cohort = FIGURE.table(), COHORT.table()
        weeks: dict[str | None, dict[str, Amount]] = {}
        moved = select(view.c.cohort, view.c.code, view.c.restrictions, view.c.persons).where(
            view.c.publication_no == last.publication_no, view.c.figure == Figure.WEEK
        )
        for name, op, *amount in await self._rows(moved):
            weeks.setdefault(name, {})[op] = Amount(*amount)
        rows = await self._rows(
            select(cohort.c.cohort, cohort.c.roster, cohort.c.persons_in_effect)
            .where(cohort.c.publication_no == last.publication_no, _has_persons(cohort))
            .order_by(cohort.c.cohort)
        )
        if not any(row.cohort for row in rows):
            return ()
        return tuple(
            CohortFacts(
                cohort=row.cohort,
                roster=row.roster,
                in_effect=row.persons_in_effect,
                week=_moved(weeks.get(row.cohort, {})),
            )
            for row in rows
        )

    async def _refuse_cohort(self) -> NoReturn:
        """Name the cohorts that there are.

        Raises:
            UsageError: always.
        """
        view = COHORT.table()
        last = select(func.max(view.c.publication_no)).scalar_subquery()
        known = select(view.c.cohort).where(
            view.c.publication_no == last, view.c.cohort.is_not(None), _has_persons(view)
        )
        rows = await self._rows(known.order_by(view.c.cohort).limit(_COHORTS_NAMED))
        names = ", ".join(row.cohort for row in rows)
        raise UsageError(
            f"nothing is published about a cohort {self._cohort!r}",
            hint=f"there are {names}" if names else "the roster names none",
        )

    async def _withheld(self, nights: Sequence[NightFacts]) -> tuple[date, ...]:
        if not nights:
            return ()
        run = RUN.table()
        begun = await self._rows(
            select(run.c.started_at).where(
                run.c.status == RunStatus.WITHHELD, run.c.started_at >= nights[0].published_at
            )
        )
        days = {row.started_at.astimezone(_ZONE).date() for row in begun}
        return tuple(sorted(days - {night.day for night in nights}))


def _has_persons(cohort: Any) -> ColumnElement[bool]:
    """Whether a row of ``COHORT`` has persons: those with a restriction may be missing ones."""
    return or_(cohort.c.roster > 0, cohort.c.missing > 0)


def _failed(row: Any) -> Mapping[str, int]:
    found = {kind.value: getattr(row, f"failed_{kind}") or 0 for kind in FailureKind}
    return {kind: persons for kind, persons in found.items() if persons}


def _by_key(figures: Iterable[_Counted]) -> Mapping[CodeKey, Amount]:
    """By code and level. Unknown codes of a group have one row, whatever their level."""
    amounts: dict[CodeKey, Amount] = {}
    for counted in figures:
        if counted.figure == Figure.CODE:
            level = "" if counted.code == OTHER else counted.level
            key = CodeKey(counted.group, counted.code, level)
            amounts[key] = counted.amount.joined(amounts.get(key, Amount()))
    return amounts


def _by_code(figures: Iterable[_Counted], figure: Figure) -> Mapping[str, Amount]:
    return {found.code: found.amount for found in figures if found.figure == figure}


def _by_group(figures: Iterable[_Counted], figure: Figure) -> Mapping[str, Amount]:
    return {found.group: found.amount for found in figures if found.figure == figure}


def _causes(figures: Iterable[_Counted]) -> Mapping[str, Amount]:
    """By cause. A record without one counts as one whose cause is not stated."""
    causes = dict(_by_code(figures, Figure.CAUSE))
    if without := causes.pop("", None):
        causes[_UNSTATED] = without.joined(causes.get(_UNSTATED, Amount()))
    return causes


def _week(figures: Iterable[_Counted]) -> Mapping[str, Week]:
    groups: dict[str, dict[str, Amount]] = {}
    for found in figures:
        if found.figure == Figure.WEEK_GROUP:
            groups.setdefault(found.group, {})[found.code] = found.amount
    return {group: _moved(amounts) for group, amounts in groups.items()}


def _moved(amounts: Mapping[str, Amount]) -> Week:
    return [amounts.get(op, Amount()) for op in _MOVES]


def _before(nights: Sequence[NightFacts]) -> NightFacts | None:
    """The night that the last one is compared with."""
    if not nights:
        return None
    latest = nights[-1].day - timedelta(days=CHANGE_DAYS)
    earliest = latest - timedelta(days=_SLACK_DAYS)
    return next((night for night in reversed(nights) if earliest <= night.day <= latest), None)


def _state(now: datetime, last_sync: RunFacts | None, last: NightFacts | None) -> SnapshotState:
    if last is None:
        return SnapshotState.EMPTY
    if is_of_the_future(last.published_at, now):
        return SnapshotState.FUTURE
    if last_sync is None:
        return SnapshotState.GAPS
    if last_sync.age(now) > FRESH:
        return SnapshotState.OLD
    # Nobody knows whose lines could not be read, or which cohort they belong to.
    if last.stale or last_sync.roster_faults:
        return SnapshotState.GAPS
    return SnapshotState.COMPLETE
