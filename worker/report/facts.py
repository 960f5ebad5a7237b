"""Reads the report's contents from the reporting views, in one snapshot.

What was published is taken from the facts of the publications. Rows are asked only for what no fact
says: when delays end, and how long restrictions stood. After an erasure they say something else
than the facts, and two reports of one publication would tell of the erased person: then they are
not asked until the next publication.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Boolean,
    ColumnElement,
    case,
    false,
    func,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.clocks import is_of_the_future
from worker.core.effect import RestrictionGroup, in_effect_sql, instant_sql
from worker.core.model import FailureKind, RunKind, RunStatus
from worker.report.figures import (
    CHANGE_DAYS,
    DAYS_SHOWN,
    RUNS_SHOWN,
    UNKNOWN,
    WEEKS_SHOWN,
    Amount,
    CodeFacts,
    CodeKey,
    CohortFacts,
    DurationFacts,
    EndFacts,
    NightFacts,
    ReportFacts,
    RunFacts,
    SnapshotState,
)
from worker.report.reading import Read, begin_snapshot
from worker.views import CHANGE_FEED, COHORT, CURRENT, DAILY, EPISODE, PUBLICATION, RUN

_ZONE: Final = ZoneInfo("Europe/Oslo")
"""The time zone of the days in the facts of publications."""
_SLACK_DAYS: Final = 7
"""How much earlier than asked for the night of a comparison may be."""
_LATER, _INDEFINITE = WEEKS_SHOWN, WEEKS_SHOWN + 1


async def read_facts(
    read: Read, *, now: datetime, fresh_within: timedelta = timedelta(hours=26)
) -> ReportFacts:
    """Read the report's facts in one snapshot.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        fresh_within: the copy is out of date if the last full run is older.

    Raises:
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> ReportFacts:
        await begin_snapshot(connection)
        return await _Queries(connection, now.astimezone(UTC)).facts(fresh_within)

    return await read(work)


class _Queries:
    """The queries of one snapshot."""

    def __init__(self, connection: AsyncConnection, now: datetime) -> None:
        self._connection = connection
        self._now = now

    async def facts(self, fresh_within: timedelta) -> ReportFacts:
        published = await self._runs(limit=1, published=True)
        syncs = await self._runs(limit=1, published=True, kind=RunKind.SYNC)
        nights = await self._nights()
        last = nights[-1] if nights else None
        then = _before(nights)
        codes = await self._codes([night.publication_no for night in (last, then) if night])
        last_sync = syncs[0] if syncs else None
        is_altered = last is not None and await self._is_altered(last)
        return ReportFacts(
            made_at=self._now,
            state=_state(self._now, last_sync, last, fresh_within),
            published=published[0] if published else None,
            last_sync=last_sync,
            runs=await self._runs(limit=RUNS_SHOWN),
            nights=nights,
            then=then,
            codes=codes.get(last.publication_no, {}) if last else {},
            codes_then=codes.get(then.publication_no, {}) if then else {},
            ends=await self._ends(last, is_altered=is_altered),
            cohorts=await self._cohorts(last),
            durations=() if is_altered else await self._durations(),
            withheld=await self._withheld(nights),
            is_altered=is_altered,
        )

    async def _rows(self, query: Any) -> Sequence[Any]:
        return (await self._connection.execute(query)).all()

    async def _runs(
        self, *, limit: int, published: bool = False, kind: str | None = None
    ) -> tuple[RunFacts, ...]:
        run = RUN.table()
        names = RunFacts.__struct_fields__
        query = select(*(run.c[name] for name in names)).limit(limit)
        if published:
            query = query.where(run.c.status == RunStatus.PUBLISHED)
            query = query.order_by(run.c.published_at.desc())
        if kind is not None:
            query = query.where(run.c.kind == kind)
        rows = await self._rows(query.order_by(run.c.run_id.desc()))
        return tuple(RunFacts(**dict(zip(names, row, strict=True))) for row in rows)

    async def _nights(self) -> tuple[NightFacts, ...]:
        facts = PUBLICATION.table()
        newest = (await self._rows(select(func.max(facts.c.day))))[0][0]
        if newest is None:
            return ()
        begin = date.fromisoformat(newest) - timedelta(days=DAYS_SHOWN - 1)
        last_of_day = select(func.max(facts.c.publication_no)).group_by(facts.c.day)
        rows = await self._rows(
            select(facts)
            .where(facts.c.day >= begin.isoformat(), facts.c.publication_no.in_(last_of_day))
            .order_by(facts.c.publication_no)
        )
        groups: dict[int, dict[str, Amount]] = {row.publication_no: {} for row in rows}
        counted = await self._amounts(list(groups), "publication_no", "restriction_group")
        for number, group, _, _, restrictions, persons in counted:
            if restrictions:
                groups[number][group or UNKNOWN] = Amount(restrictions, persons)
        return tuple(
            NightFacts(
                publication_no=row.publication_no,
                published_at=row.published_at,
                day=date.fromisoformat(row.day),
                roster=row.roster,
                confirmed=row.confirmed,
                stale=row.stale,
                failed=_failed(row),
                persons_in_effect=row.persons_in_effect,
                groups=groups[row.publication_no],
            )
            for row in rows
        )

    async def _codes(self, numbers: Sequence[int]) -> dict[int, dict[CodeKey, CodeFacts]]:
        found: dict[int, dict[CodeKey, CodeFacts]] = {}
        by = ("publication_no", "restriction_group", "area", "code", "level")
        for number, group, *key, stands, people, restrictions, persons in await self._amounts(
            numbers, *by
        ):
            found.setdefault(number, {})[CodeKey(group or UNKNOWN, *key)] = CodeFacts(
                open=Amount(stands, people), in_effect=Amount(restrictions, persons)
            )
        return found

    async def _amounts(self, numbers: Sequence[int], *by: str) -> Iterable[list[Any]]:
        """Open restrictions and those in effect, each with their persons, of these publications.

        A person may have restrictions of several codes and causes, but is in one cohort. So the
        least number of persons is the sum over the cohorts of the largest count of one code and
        cause.
        """
        daily = DAILY.table()
        keys = [daily.c[name] for name in by]
        sums = {
            "open": func.sum(daily.c.open),
            "persons": func.max(daily.c.persons),
            "in_effect": func.sum(daily.c.in_effect),
            "persons_in_effect": func.max(daily.c.persons_in_effect),
        }
        cohorts = (
            select(*keys, *(found.label(name) for name, found in sums.items()))
            .where(daily.c.publication_no.in_(numbers))
            .group_by(*keys, daily.c.cohort)
        ).subquery()
        groups = [cohorts.c[name] for name in by]
        rows = await self._rows(
            select(*groups, *(func.sum(cohorts.c[name]) for name in sums)).group_by(*groups)
        )
        return ([*row[: len(by)], *map(int, row[len(by) :])] for row in rows)

    async def _cohorts(self, night: NightFacts | None) -> tuple[CohortFacts, ...]:
        """By cohort, if any person has one."""
        if night is None:
            return ()
        cohort = COHORT.table()
        rows = await self._rows(
            select(cohort.c.cohort, cohort.c.roster, cohort.c.persons_in_effect)
            .where(cohort.c.publication_no == night.publication_no, cohort.c.roster > 0)
            .order_by(cohort.c.cohort)
        )
        if not any(row.cohort for row in rows):
            return ()
        return tuple(
            CohortFacts(cohort=row.cohort, roster=row.roster, in_effect=row.persons_in_effect)
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

    async def _ends(self, night: NightFacts | None, *, is_altered: bool) -> EndFacts:
        """When what is in effect at a publication ends, and what is not in effect then."""
        found: dict[int, Amount] = {}
        if night is None:
            return EndFacts(weeks=(), later=Amount(), indefinite=Amount(), not_now=Amount())
        for area in () if is_altered else AREAS:
            for place, restrictions, persons in await self._ends_of(area, night.published_at):
                before = found.get(place, Amount())
                found[place] = Amount(
                    before.restrictions + restrictions, max(before.persons, persons)
                )
        return EndFacts(
            weeks=tuple(found.get(week, Amount()) for week in range(WEEKS_SHOWN)),
            later=found.get(_LATER, Amount()),
            indefinite=found.get(_INDEFINITE, Amount()),
            not_now=await self._not_now(night),
        )

    async def _not_now(self, night: NightFacts) -> Amount:
        """What restricts and is outside its time, and how many persons at least have such a one."""
        daily = DAILY.table()
        persons = daily.c.persons - daily.c.persons_in_effect
        outside = daily.c.open - daily.c.in_effect
        rows = await self._rows(
            select(
                func.sum(outside),
                # Who has others in effect, too, is not in the difference.
                func.max(case((outside == 0, 0), (persons == 0, 1), else_=persons)),
            )
            .where(
                daily.c.publication_no == night.publication_no,
                func.coalesce(daily.c.restriction_group, UNKNOWN) != RestrictionGroup.NONE,
            )
            .group_by(daily.c.cohort)
        )
        return Amount(sum(int(row[0]) for row in rows), sum(int(row[1]) for row in rows))

    async def _ends_of(self, area: ResourceArea, at: datetime) -> Sequence[Any]:
        current = CURRENT[area.name].table()
        does = in_effect_sql(area.effect, CURRENT[area.name].name, instant_sql(at))
        in_effect: ColumnElement[bool] = literal_column(
            f"({does})", Boolean(create_constraint=False)
        )
        ends = current.c.ends_at
        weeks: list[tuple[ColumnElement[bool], ColumnElement[int]]] = [
            (ends <= at + timedelta(weeks=week + 1), literal_column(str(week)))
            for week in range(WEEKS_SHOWN)
        ]
        place = case(
            (ends.is_(None), literal_column(str(_INDEFINITE))),
            *weeks,
            else_=literal_column(str(_LATER)),
        ).label("place")
        return await self._rows(
            select(place, func.count(), func.count(current.c.person_key.distinct()))
            .where(current.c.restriction_group == RestrictionGroup.DELAYED, in_effect)
            .group_by(place)
        )

    async def _durations(self) -> tuple[DurationFacts, ...]:
        """By area, of restrictions that were added and removed since the copy began."""
        episode = EPISODE.table()
        # A CTE used twice, so that the view is read once.
        ended = (
            select(episode.c.area, episode.c.days, episode.c.person_key)
            .where(episode.c.ended_at.is_not(None), episode.c.is_left_censored == false())
            .cte("ended")
        )
        counted = await self._rows(
            union_all(
                select(ended.c.area, ended.c.days, func.count()).group_by(
                    ended.c.area, ended.c.days
                ),
                select(ended.c.area, null(), func.count(ended.c.person_key.distinct())).group_by(
                    ended.c.area
                ),
            )
        )
        days = [row for row in counted if row[1] is not None]
        persons = sorted((row[0], row[2]) for row in counted if row[1] is None)
        found = []
        for area, people in persons:
            amounts = Counter({row[1]: row[2] for row in days if row[0] == area})
            found.append(
                DurationFacts(
                    area=area,
                    amount=Amount(amounts.total(), people),
                    median_days=median(amounts.elements()),
                )
            )
        return tuple(found)

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
