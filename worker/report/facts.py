"""Reads the report's contents from the reporting views, in one snapshot.

What was published is taken from the facts of the publications. Rows are asked only for what no fact
says: when delays end, how old rows are, and how many persons stand behind a week's changes. After
an erasure they say something else than the facts, and two reports of one publication would tell of
the erased person: then they are not asked until the next publication.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.effect import RestrictionGroup
from worker.core.model import FailureKind, RunKind, RunStatus
from worker.core.times import is_of_the_future
from worker.errors import UsageError
from worker.report.figures import (
    CHANGE_DAYS,
    DAYS_SHOWN,
    PENDING,
    UNKNOWN,
    WEEK,
    Amount,
    CodeKey,
    CohortFacts,
    Movement,
    NightFacts,
    ReportFacts,
    RowFacts,
    RunFacts,
    SnapshotState,
)
from worker.report.rows import read_rows
from worker.views import (
    CHANGE_FEED,
    COHORT,
    DAILY,
    PUBLICATION,
    RUN,
    Read,
    begin_snapshot,
)

_ZONE: Final = ZoneInfo("Europe/Oslo")
"""The time zone of the days in the facts of publications."""
_SLACK_DAYS: Final = 7
"""How much earlier than asked for the night of a comparison may be."""
_MOVES: Final = {"insert": "added", "update": "changed", "close": "removed"}


async def read_facts(
    read: Read,
    *,
    now: datetime,
    cohort: str | None = None,
    fresh_within: timedelta = timedelta(hours=26),
) -> ReportFacts:
    """Read the report's facts in one snapshot.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        cohort: the clinic or department that the report is about; None: everybody.
        fresh_within: the copy is out of date if the last full run is older.

    Raises:
        UsageError: the last publication has no such cohort.
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> ReportFacts:
        await begin_snapshot(connection)
        return await _Queries(connection, now.astimezone(UTC), cohort).facts(fresh_within)

    return await read(work)


class _Queries:
    """The queries of one snapshot."""

    def __init__(self, connection: AsyncConnection, now: datetime, cohort: str | None) -> None:
        self._connection = connection
        self._now = now
        self._cohort = cohort

    async def facts(self, fresh_within: timedelta) -> ReportFacts:
        run = RUN.table()
        is_published = run.c.status == RunStatus.PUBLISHED
        nights = await self._nights()
        if self._cohort is not None and not nights:
            raise UsageError(
                f"nothing is published of a cohort {self._cohort!r}",
                hint="the view report_publication_cohort has their names",
            )
        last = nights[-1] if nights else None
        then = _before(nights)
        is_altered = last is None or await self._is_altered(last)
        codes = await self._codes([night.publication_no for night in (last, then) if night])
        last_sync = await self._run(run, is_published, run.c.kind == RunKind.SYNC)
        return ReportFacts(
            made_at=self._now,
            state=_state(self._now, last_sync, last, fresh_within),
            cohort=self._cohort,
            published=await self._run(run, is_published),
            last_sync=last_sync,
            latest=await self._run(run, run.c.run_id == _newest(run)),
            nights=nights,
            then=then,
            codes=codes.get(last.publication_no, {}) if last else {},
            codes_then=codes.get(then.publication_no, {}) if then else {},
            causes=await self._causes(last) if last else {},
            pending=await self._pending(last) if last else Amount(),
            week=await self._week(last) if last and not is_altered else None,
            rows=await self._current(last) if last and not is_altered else None,
            cohorts=await self._cohorts(last, is_altered=is_altered)
            if last and not self._cohort
            else (),
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
        groups: dict[int, dict[str, Amount]] = {row.publication_no: {} for row in rows}
        for number, group, amount in await self._amounts(list(groups), "restriction_group"):
            groups[number][group or UNKNOWN] = amount
        return tuple(
            NightFacts(
                publication_no=row.publication_no,
                published_at=row.published_at,
                day=row.day,
                roster=row.roster,
                confirmed=row.confirmed,
                stale=row.stale,
                failed=_failed(row),
                persons=row.persons_in_effect,
                groups=groups[row.publication_no],
            )
            for row in rows
        )

    async def _codes(self, numbers: Sequence[int]) -> dict[int, dict[CodeKey, Amount]]:
        found: dict[int, dict[CodeKey, Amount]] = {}
        by = ("restriction_group", "area", "code", "level")
        for number, group, *key, amount in await self._amounts(numbers, *by):
            found.setdefault(number, {})[CodeKey(group or UNKNOWN, *key)] = amount
        return found

    async def _causes(self, night: NightFacts) -> Mapping[str, Amount]:
        """How what is in effect came about, for the areas that say so."""
        of_it = [area.name for area in AREAS if area.effect.cause]
        found: dict[str, Amount] = {}
        for _, area, cause, amount in await self._amounts([night.publication_no], "area", "cause"):
            if area in of_it:
                found[cause] = found.get(cause, Amount()) + amount
        return found

    async def _pending(self, night: NightFacts) -> Amount:
        """Rules for results to come, and how many persons have one at least."""
        daily = DAILY.table()
        counts = (
            select(func.sum(daily.c.open).label("open"), func.max(daily.c.persons).label("persons"))
            .where(
                daily.c.publication_no == night.publication_no,
                daily.c.restriction_group == PENDING,
            )
            .group_by(daily.c.cohort)
        )
        cohorts = self._of_cohort(counts, daily).subquery()
        sums = (func.sum(cohorts.c.open), func.sum(cohorts.c.persons))
        ((restrictions, persons),) = await self._rows(select(*sums))
        return Amount(int(restrictions or 0), int(persons or 0))

    async def _amounts(self, numbers: Sequence[int], *by: str) -> Sequence[Sequence[Any]]:
        """Restrictions in effect at publications: the number, ``by``, and an amount.

        A person may have restrictions of several codes and causes, but is in one cohort. So the
        least number of persons is the sum over the cohorts of the largest count of one code and
        cause.
        """
        daily = DAILY.table()
        keys = [daily.c[name] for name in ("publication_no", *by)]
        in_effect = func.sum(daily.c.in_effect).label("in_effect")
        persons = func.max(daily.c.persons_in_effect).label("persons")
        query = select(*keys, in_effect, persons).where(
            daily.c.publication_no.in_(numbers), daily.c.in_effect > 0
        )
        cohorts = self._of_cohort(query, daily).group_by(*keys, daily.c.cohort).subquery()
        groups = [cohorts.c[key.name] for key in keys]
        sums = (func.sum(cohorts.c.in_effect), func.sum(cohorts.c.persons))
        rows = await self._rows(select(*groups, *sums).group_by(*groups))
        return [(*row[:-2], Amount(int(row[-2]), int(row[-1]))) for row in rows]

    async def _week(self, last: NightFacts) -> Mapping[str, Movement]:
        """What came, changed and went in the week until the last night, by group."""
        moved = await self._moved(last, "restriction_group")
        return {group or UNKNOWN: movement for group, movement in moved.items()}

    async def _moved(
        self, last: NightFacts, by: str, *, only_restricting: bool = False
    ) -> Mapping[str | None, Movement]:
        """The same by a column of the change feed, which tells whose they were.

        The very first publication is none of the week: what it brought was there before the copy.
        """
        feed, every = CHANGE_FEED.table(), PUBLICATION.table()
        week = select(every.c.publication_no).where(
            every.c.day > last.day - WEEK, every.c.day <= last.day, every.c.publication_no > 1
        )
        persons = func.count(feed.c.person_no.distinct())
        query = self._of_cohort(select(feed.c.op, feed.c[by], func.count(), persons), feed).where(
            feed.c.publication_no.in_(week),
            feed.c.op.in_(_MOVES),
            feed.c.restriction_id.is_not(None),
        )
        if only_restricting:
            query = query.where(feed.c.restriction_group.is_distinct_from(RestrictionGroup.NONE))
        found: dict[str | None, dict[str, Amount]] = {}
        for op, key, *amount in await self._rows(query.group_by(feed.c.op, feed.c[by])):
            found.setdefault(key, {})[_MOVES[op]] = Amount(*amount)
        return {key: Movement(**amounts) for key, amounts in found.items()}

    async def _cohorts(self, last: NightFacts, *, is_altered: bool) -> tuple[CohortFacts, ...]:
        """By cohort, if any person has one; nothing in a report about one of them."""
        if self._cohort is not None:
            return ()
        cohort = COHORT.table()
        weeks: Mapping[str | None, Movement] = {}
        if not is_altered:
            weeks = await self._moved(last, "cohort", only_restricting=True)
        rows = await self._rows(
            select(cohort.c.cohort, cohort.c.roster, cohort.c.persons_in_effect)
            .where(cohort.c.publication_no == last.publication_no, cohort.c.roster > 0)
            .order_by(cohort.c.cohort)
        )
        if not any(row.cohort for row in rows):
            return ()
        return tuple(
            CohortFacts(
                cohort=row.cohort,
                roster=row.roster,
                in_effect=row.persons_in_effect,
                week=None if is_altered else weeks.get(row.cohort, Movement()),
            )
            for row in rows
        )

    async def _is_altered(self, night: NightFacts) -> bool:
        """Whether somebody was erased since: the feed says it behind the publication's changes."""
        feed = CHANGE_FEED.table(("seq", "op", "publication_no"))
        newest = await self._rows(
            select(feed.c.op, feed.c.publication_no)
            .where(feed.c.op != "purge")
            .order_by(feed.c.seq.desc())
            .limit(1)
        )
        return [tuple(row) for row in newest] == [("erase", night.publication_no)]

    async def _current(self, night: NightFacts) -> RowFacts:
        return await read_rows(self._connection, night.published_at, self._cohort)

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


def _newest(run: Any) -> Any:
    """The id of the newest run that was not abandoned."""
    begun = select(func.max(run.c.run_id)).where(run.c.status != RunStatus.ABANDONED)
    return begun.scalar_subquery()


def _failed(row: Any) -> Mapping[str, int]:
    found = {kind.value: getattr(row, f"failed_{kind}") or 0 for kind in FailureKind}
    return {kind: persons for kind, persons in found.items() if persons}


def _before(nights: Sequence[NightFacts]) -> NightFacts | None:
    """The night that the last one is compared with."""
    if not nights:
        return None
    latest = nights[-1].day - timedelta(days=CHANGE_DAYS)
    earliest = latest - timedelta(days=_SLACK_DAYS)
    return next((night for night in reversed(nights) if earliest <= night.day <= latest), None)


def _state(
    now: datetime, last_sync: RunFacts | None, last: NightFacts | None, fresh_within: timedelta
) -> SnapshotState:
    if last is None:
        return SnapshotState.EMPTY
    if is_of_the_future(last.published_at, now):
        return SnapshotState.FUTURE
    if last_sync is None:
        return SnapshotState.GAPS
    if last_sync.age(now) > fresh_within:
        return SnapshotState.OLD
    if last.stale or last_sync.exit_code:
        return SnapshotState.GAPS
    return SnapshotState.COMPLETE
