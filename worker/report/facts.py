"""The report's facts, read from the reporting views in one look."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    TableClause,
    case,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS, area_named
from worker.core.effect import RestrictionGroup, in_effect_sql, instant_sql
from worker.core.identity import short_key
from worker.core.model import RunKind, RunStatus
from worker.report.figures import (
    AGES,
    DAYS_SHOWN,
    RUNS_SHOWN,
    STALE_SHOWN,
    AreaFacts,
    CodeCount,
    DayFacts,
    DelayFacts,
    ReportFacts,
    RunFacts,
    SnapshotState,
    StaleFacts,
    Standing,
)
from worker.report.reading import Instant, Read, begin_snapshot
from worker.report.views import CURRENT, DAILY_CHANGE, FRESHNESS, RUN, View

_ZONE: Final = ZoneInfo("Europe/Oslo")
"""Whose days the facts of publications have."""
_SAFETY: Final = "patient-safety"
_PRIVACY: Final = "patient-privacy"


async def read_facts(
    read: Read,
    *,
    now: datetime,
    fresh_within: timedelta = timedelta(hours=26),
    include_local_ref: bool = False,
    tenant: str | None = None,
) -> ReportFacts:
    """Read the report's facts in one snapshot.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        now: the time of the report, aware.
        fresh_within: a full run published longer ago makes the copy old.
        include_local_ref: name stale persons by the organisation's own reference.
        tenant: count this tenant alone.

    Raises:
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> ReportFacts:
        await begin_snapshot(connection)
        look = _Look(connection, now.astimezone(UTC), tenant)
        return await look.facts(fresh_within, include_local_ref=include_local_ref)

    return await read(work)


async def read_standing(read: Read, *, tenant: str | None = None) -> Standing:
    """Read what stands, for telemetry.

    Raises:
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> Standing:
        await begin_snapshot(connection)
        look = _Look(connection, datetime.min.replace(tzinfo=UTC), tenant)
        run, query = look.of(RUN)
        row = await look.one(
            query.where(run.c.status == RunStatus.PUBLISHED).add_columns(
                func.max(case((run.c.exit_code == 0, run.c.published_at)), type_=Instant),
                func.max(run.c.published_at, type_=Instant),
            )
        )
        _, persons_stale = await look.persons()
        return Standing(
            last_success_at=row[0], last_published_at=row[1], persons_stale=persons_stale
        )

    return await read(work)


class _Look:
    """The queries of one snapshot."""

    def __init__(self, connection: AsyncConnection, now: datetime, tenant: str | None) -> None:
        self._connection = connection
        self._now = now
        self._tenant = tenant

    def of(self, view: View) -> tuple[TableClause, Select[Any]]:
        """The view, and a SELECT of nothing yet that keeps to the tenant."""
        table = view.table()
        query = select().select_from(table)
        return table, query if self._tenant is None else query.where(table.c.tenant == self._tenant)

    async def one(self, query: Select[Any]) -> Any:
        return (await self._connection.execute(query)).one()

    async def facts(self, fresh_within: timedelta, *, include_local_ref: bool) -> ReportFacts:
        runs = await self._runs(limit=RUNS_SHOWN)
        published = await self._runs(limit=1, published=True)
        syncs = await self._runs(limit=1, published=True, kind=RunKind.SYNC)
        areas = [await self._area(area.name) for area in AREAS]
        first_day, days = await self._days({area.name: area.open for area in areas})
        persons, persons_stale = await self.persons()
        last_sync = syncs[0] if syncs else None
        return ReportFacts(
            made_at=self._now,
            state=_state(self._now, published, last_sync, fresh_within, persons_stale),
            published=published[0] if published else None,
            last_sync=last_sync,
            runs=runs,
            persons=persons,
            persons_stale=persons_stale,
            areas=tuple(areas),
            safety=await self._codes(_SAFETY, "confidentiality_code"),
            delays=await self._delays(),
            privacy=await self._codes(_PRIVACY, "privacy_type", "privacy_level"),
            days=days,
            first_day=first_day,
            stale=await self._stale(include_local_ref=include_local_ref),
        )

    async def persons(self) -> tuple[int, int]:
        """Persons, and those with an area that is stale."""
        fresh, query = self.of(FRESHNESS)
        person = fresh.c.tenant + "/" + fresh.c.person_key
        row = await self.one(
            query.add_columns(
                func.count(person.distinct()),
                func.count(case((fresh.c.is_stale == true(), person)).distinct()),
            )
        )
        return row[0], row[1]

    async def _runs(
        self, *, limit: int, published: bool = False, kind: str | None = None
    ) -> tuple[RunFacts, ...]:
        run, query = self.of(RUN)
        query = query.order_by(run.c.run_id.desc()).limit(limit)
        if published:
            query = query.where(run.c.status == RunStatus.PUBLISHED)
            query = query.order_by(None).order_by(run.c.published_at.desc(), run.c.run_id.desc())
        if kind is not None:
            query = query.where(run.c.kind == kind)
        names = RunFacts.__dataclass_fields__
        rows = await self._connection.execute(query.add_columns(*(run.c[name] for name in names)))
        return tuple(RunFacts(**dict(zip(names, row, strict=True))) for row in rows)

    async def _area(self, name: str) -> AreaFacts:
        current, query = self.of(CURRENT[name])
        person = current.c.tenant + "/" + current.c.person_key
        does = self._in_effect(name)
        restricts = func.coalesce(current.c.restriction_group, "") != RestrictionGroup.NONE
        restrictions, holders, stands, none, ended = await self.one(
            query.add_columns(
                func.count(case((does, 1))),
                func.count(case((does, person)).distinct()),
                func.count(),
                func.count(case((~restricts, 1))),
                func.count(case((restricts & (current.c.ends_at <= self._now), 1))),
            )
        )
        fresh, query = self.of(FRESHNESS)
        classes = [self._is_of_age(fresh, index) for index in range(len(AGES))]
        row = await self.one(
            query.where(fresh.c.area == name).add_columns(
                func.count(),
                func.count(case((fresh.c.is_stale == true(), 1))),
                func.min(fresh.c.last_confirmed_at, type_=Instant),
                *(func.count(case((is_of_age, 1))) for is_of_age in classes),
            )
        )
        return AreaFacts(
            name=name,
            restrictions=restrictions,
            holders=holders,
            open=stands,
            restricting_nothing=none,
            ended=ended,
            persons=row[0],
            persons_stale=row[1],
            oldest_at=row[2],
            ages=tuple(row[3:]),
        )

    def _in_effect(self, area: str) -> ColumnElement[bool]:
        """Whether a row of the area's current view is in effect at the report's time."""
        condition = in_effect_sql(
            area_named(area).effect, CURRENT[area].name, instant_sql(self._now)
        )
        return literal_column(f"({condition})", Boolean(create_constraint=False))

    def _is_of_age(self, fresh: TableClause, index: int) -> Any:
        at = fresh.c.last_confirmed_at
        end = AGES[index][1]
        if end is None:
            return at.is_(None)
        is_younger = true() if end == timedelta.max else at > self._now - end
        is_older = true() if index == 0 else at <= self._now - (AGES[index - 1][1] or end)
        return at.is_not(None) & is_younger & is_older

    async def _codes(self, area: str, *names: str) -> tuple[CodeCount, ...]:
        current, query = self.of(CURRENT[area])
        columns = [func.coalesce(current.c[name], literal("")) for name in names]
        amount = func.count().label("amount")
        rows = await self._connection.execute(
            query.add_columns(amount, func.count(case((current.c.is_stale == true(), 1))), *columns)
            .where(self._in_effect(area))
            .group_by(*(current.c[name] for name in names))
            .order_by(amount.desc(), *(current.c[name] for name in names))
        )
        return tuple(
            CodeCount(restrictions=amount, stale=stale, code=code, level=level[0] if level else "")
            for amount, stale, code, *level in rows
        )

    async def _delays(self) -> DelayFacts:
        current, query = self.of(CURRENT[_SAFETY])
        until = current.c.delay_delivery_until
        ends = func.coalesce(current.c.delay_is_indefinite, false()) == false()
        in_7, in_30 = self._now + timedelta(days=7), self._now + timedelta(days=30)
        row = await self.one(
            query.add_columns(
                func.count(case((ends & (until <= self._now), 1))),
                func.count(case((ends & (until > self._now) & (until <= in_7), 1))),
                func.count(case((ends & (until > self._now) & (until <= in_30), 1))),
                func.count(case((ends & (until > in_30), 1))),
                func.count(case((current.c.delay_is_indefinite == true(), 1))),
            )
        )
        return DelayFacts(
            over=row[0],
            within_7_days=row[1],
            within_30_days=row[2],
            later=row[3],
            indefinite=row[4],
        )

    async def _days(self, open_now: dict[str, int]) -> tuple[date | None, tuple[DayFacts, ...]]:
        daily, query = self.of(DAILY_CHANGE)
        first = (await self.one(query.add_columns(func.min(daily.c.day))))[0]
        if first is None:
            return None, ()
        first_day, today = date.fromisoformat(first), self._now.astimezone(_ZONE).date()
        begin = max(first_day, today - timedelta(days=DAYS_SHOWN - 1))
        rows = await self._connection.execute(
            query.where(daily.c.day >= begin.isoformat())
            .group_by(daily.c.day, daily.c.area)
            .add_columns(
                daily.c.day,
                daily.c.area,
                func.sum(daily.c.added),
                func.sum(daily.c.changed),
                func.sum(daily.c.removed),
            )
        )
        changes = {(row[0], row[1]): tuple(int(n) for n in row[2:]) for row in rows}
        end = max(today, *(date.fromisoformat(day) for day, _ in changes)) if changes else today
        return first_day, _by_day(begin, end, changes, open_now)

    async def _stale(self, *, include_local_ref: bool) -> tuple[StaleFacts, ...]:
        fresh, query = self.of(FRESHNESS)
        rows = await self._connection.execute(
            query.where(fresh.c.is_stale == true())
            .add_columns(
                fresh.c.person_key,
                fresh.c.local_ref,
                fresh.c.area,
                fresh.c.last_confirmed_at,
                fresh.c.failing_since,
                fresh.c.failure_kind,
                fresh.c.failed_runs,
            )
            .order_by(
                fresh.c.last_confirmed_at.is_not(None),
                fresh.c.last_confirmed_at,
                fresh.c.person_key,
                fresh.c.area,
            )
            .limit(STALE_SHOWN)
        )
        return tuple(
            StaleFacts(
                label=(row.local_ref if include_local_ref else None) or short_key(row.person_key),
                area=row.area,
                last_confirmed_at=row.last_confirmed_at,
                failing_since=row.failing_since,
                failure_kind=row.failure_kind,
                failed_runs=row.failed_runs,
            )
            for row in rows
        )


def _state(
    now: datetime,
    published: tuple[RunFacts, ...],
    last_sync: RunFacts | None,
    fresh_within: timedelta,
    persons_stale: int,
) -> SnapshotState:
    if not published:
        return SnapshotState.EMPTY
    if last_sync is None:
        return SnapshotState.GAPS
    if last_sync.age(now) > fresh_within:
        return SnapshotState.OLD
    if persons_stale or last_sync.exit_code:
        return SnapshotState.GAPS
    return SnapshotState.COMPLETE


def _by_day(
    begin: date,
    end: date,
    changes: dict[tuple[str, str], tuple[int, ...]],
    open_now: dict[str, int],
) -> tuple[DayFacts, ...]:
    """Every day, also without a change; what stood open is reckoned back from what stands open."""
    found: list[DayFacts] = []
    still_open = dict(open_now)
    for back in range((end - begin).days + 1):
        day = end - timedelta(days=back)
        for area in reversed(open_now):
            added, changed, removed = changes.get((day.isoformat(), area), (0, 0, 0))
            found.append(
                DayFacts(
                    day=day,
                    area=area,
                    added=added,
                    changed=changed,
                    removed=removed,
                    open_after=still_open[area],
                )
            )
            still_open[area] -= added - removed
    return tuple(reversed(found))
