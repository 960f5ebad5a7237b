"""Publication: one transaction in which a whole run becomes what readers see (promise 2).

In this order, all of it or nothing: restrictions that moved to another identifier are closed under
the old one, persons who left the roster are departed, the guard looks at the whole, the ledger's
totals are counted from the rows themselves, and the run gets its publication number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, and_, func, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.core.guard import GuardFacts
from worker.core.model import RunKind, RunStatus
from worker.core.run import Publication, RunHandle
from worker.errors import ExitCode, WithheldError
from worker.store.database import Database
from worker.store.lease import Lease
from worker.store.tables import VERSIONS, attempt, person, person_area, run

ExitDecision = Callable[[Mapping[str, int]], ExitCode]
"""The exit code of a published run, from its totals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Publishes one run under the lease."""

    database: Database
    lease: Lease
    handle: RunHandle

    async def publish(
        self,
        judge: Callable[[GuardFacts], tuple[str, ...]],
        exit_decision: ExitDecision,
        *,
        may_depart: bool,
        roster_faults: int,
        requests: int = 0,
        retries: int = 0,
    ) -> Publication:
        """Publish the run, or raise and leave everything as it was.

        Args:
            judge: names the reasons to withhold; an empty tuple publishes.
            exit_decision: the exit code that the totals deserve.
            may_depart: the roster was read whole and without a bad line, so that whoever is not
                on it has left; a backfill never departs anyone.
            roster_faults: lines of the roster that could not be read.
            requests: HTTP requests of this turn at the run.
            retries: those among them that repeated another.

        Raises:
            WithheldError: the guard found reasons; nothing was changed.
            LeaseLostError: another holder took over; nothing was changed.
        """

        async def work(connection: AsyncConnection) -> Publication:
            await self.lease.renew(self.database, connection)
            already = await self._published(connection)
            if already is not None:
                return already
            await self._close_moved(connection)
            departed = await self._depart(connection) if may_depart else 0
            reasons = judge(await self.facts(connection, departed, roster_faults))
            if reasons:
                raise WithheldError(
                    "withheld, the last published state stands: " + "; ".join(reasons),
                    hint="look at what changed; if it is right, run `pts-worker sync "
                    "--accept-removals`",
                )
            await self._welcome_back(connection)
            await connection.execute(
                update(attempt)
                .where(attempt.c.attempt_id == self.handle.attempt_id)
                .values(requests=requests, retries=retries, roster_faults=roster_faults)
            )
            return await self._mark(connection, exit_decision, departed, roster_faults)

        return await self.database.write(work)

    async def removed_so_far(self) -> tuple[int, int]:
        """Restrictions that this run has closed for good, and the persons who lose them."""
        return await self.database.read(self._removed)

    async def facts(
        self, connection: AsyncConnection, departing: int, roster_faults: int
    ) -> GuardFacts:
        """What the guard looks at, counted from the rows."""
        handle = self.handle
        removed, affected = await self._removed(connection)
        attempted, complete = await self._person_areas(connection)
        is_subset = handle.kind == RunKind.BACKFILL
        open_before, holders = handle.open_before, handle.holders_before
        if is_subset:
            open_before, holders = await self._subset_open(connection)
        return GuardFacts(
            open_before=open_before,
            holders_before=holders,
            persons_before=handle.persons_before,
            removed=removed,
            persons_affected=affected,
            departing=departing,
            areas_attempted=attempted + roster_faults * len(handle.areas),
            areas_complete=complete,
            is_subset=is_subset,
        )

    async def _published(self, connection: AsyncConnection) -> Publication | None:
        """The publication, if an earlier commit came through unheard."""
        row = (
            await connection.execute(select(run).where(run.c.run_id == self.handle.run_id))
        ).one()
        if row.status != RunStatus.PUBLISHED:
            return None
        totals = {name: getattr(row, name) for name in TOTALS}
        return Publication(
            published_at=row.published_at, totals=totals, exit_code=ExitCode(row.exit_code)
        )

    async def _close_moved(self, connection: AsyncConnection) -> None:
        """Close under the old identifier what this run opened under another.

        Only where the old person's area was not read whole in this run: if it was, its own proof
        has decided. So the order in which the two persons are read makes no difference.
        """
        run_id = self.handle.run_id
        for name, table in VERSIONS.items():
            new, old = table.alias("new"), table.alias("old")
            opened = run.alias("opened")
            confirmed = (
                select(person_area.c.person_id)
                .where(
                    person_area.c.person_id == old.c.person_id,
                    person_area.c.area == name,
                    person_area.c.run_id == run_id,
                    person_area.c.is_complete,
                )
                .exists()
            )
            moved = (
                select(old.c.version_id)
                .join(new, new.c.restriction_id == old.c.restriction_id)
                .join(opened, opened.c.run_id == old.c.opened_run)
                .where(
                    new.c.opened_run == run_id,
                    new.c.closed_run.is_(None),
                    old.c.closed_run.is_(None),
                    old.c.person_id != new.c.person_id,
                    opened.c.publication_no.is_not(None),
                    _same_tenant(old, new),
                    ~confirmed,
                )
            )
            await connection.execute(
                update(table).where(table.c.version_id.in_(moved)).values(closed_run=run_id)
            )
            await self._carry_first_seen(connection, table)

    async def _carry_first_seen(self, connection: AsyncConnection, table: Table) -> None:
        """A moved restriction keeps the time when it was first seen."""
        run_id = self.handle.run_id
        old = table.alias("old")
        since = (
            select(func.min(old.c.first_seen_at))
            .where(
                old.c.closed_run == run_id,
                old.c.restriction_id == table.c.restriction_id,
                old.c.person_id != table.c.person_id,
                _same_tenant(old, table),
            )
            .scalar_subquery()
        )
        await connection.execute(
            update(table)
            .where(
                table.c.opened_run == run_id,
                table.c.restriction_id.in_(
                    select(old.c.restriction_id).where(old.c.closed_run == run_id)
                ),
                since.is_not(None),
                since < table.c.first_seen_at,
            )
            .values(first_seen_at=since)
        )

    def _absent(self) -> ColumnElement[bool]:
        """Known persons whom this turn at the run did not meet on the roster."""
        met = (
            select(person_area.c.person_id)
            .where(
                person_area.c.person_id == person.c.person_id,
                person_area.c.run_id == self.handle.run_id,
                person_area.c.attempt_id == self.handle.attempt_id,
            )
            .exists()
        )
        known = (
            select(person_area.c.person_id).where(person_area.c.person_id == person.c.person_id)
        ).exists()
        return and_(
            person.c.tenant_id == self.lease.tenant_id,
            person.c.departed_run.is_(None),
            known,
            ~met,
        )

    async def _depart(self, connection: AsyncConnection) -> int:
        """Depart whoever is no longer on the roster, and close what is open of them."""
        run_id = self.handle.run_id
        done = await connection.execute(
            update(person).where(self._absent()).values(departed_run=run_id)
        )
        if done.rowcount:
            gone = select(person.c.person_id).where(person.c.departed_run == run_id)
            for table in VERSIONS.values():
                await connection.execute(
                    update(table)
                    .where(
                        table.c.person_id.in_(gone),
                        table.c.closed_run.is_(None),
                        table.c.opened_run != run_id,
                    )
                    .values(closed_run=run_id)
                )
        return done.rowcount

    async def _welcome_back(self, connection: AsyncConnection) -> None:
        """A departed person who is on the roster again is not departed any more."""
        met = select(person_area.c.person_id).where(person_area.c.run_id == self.handle.run_id)
        await connection.execute(
            update(person)
            .where(
                person.c.tenant_id == self.lease.tenant_id,
                person.c.departed_run.is_not(None),
                person.c.departed_run != self.handle.run_id,
                person.c.person_id.in_(met),
            )
            .values(departed_run=None)
        )

    async def _removed(self, connection: AsyncConnection) -> tuple[int, int]:
        """Closed by this run without a new content, and without a row under another person."""
        run_id = self.handle.run_id
        gone = []
        for table in VERSIONS.values():
            other = table.alias("other")
            lives_on = (
                select(other.c.version_id)
                .where(
                    other.c.restriction_id == table.c.restriction_id,
                    other.c.closed_run.is_(None),
                    _same_tenant(other, table),
                )
                .exists()
            )
            gone.append(select(table.c.person_id).where(table.c.closed_run == run_id, ~lives_on))
        rows = union_all(*gone).subquery()
        row = (
            await connection.execute(
                select(
                    func.count().label("rows"), func.count(rows.c.person_id.distinct())
                ).select_from(rows)
            )
        ).one()
        return row[0], row[1]

    async def _person_areas(self, connection: AsyncConnection) -> tuple[int, int]:
        """Person-areas that this run asked for, and those that it read whole."""
        ours = person_area.c.run_id == self.handle.run_id
        row = (
            await connection.execute(
                select(
                    func.count(),
                    func.count().filter(person_area.c.is_complete),
                ).where(ours)
            )
        ).one()
        return row[0], row[1]

    async def _subset_open(self, connection: AsyncConnection) -> tuple[int, int]:
        """What was open, as published, of the persons that a backfill read."""
        run_id = self.handle.run_id
        rows = []
        for name, table in VERSIONS.items():
            rows.append(
                select(table.c.person_id)
                .join(person_area, person_area.c.person_id == table.c.person_id)
                .where(
                    person_area.c.run_id == run_id,
                    person_area.c.area == name,
                    table.c.opened_run != run_id,
                    or_(table.c.closed_run.is_(None), table.c.closed_run == run_id),
                )
            )
        found = union_all(*rows).subquery()
        row = (
            await connection.execute(
                select(func.count(), func.count(found.c.person_id.distinct())).select_from(found)
            )
        ).one()
        return row[0], row[1]

    async def _mark(
        self,
        connection: AsyncConnection,
        exit_decision: ExitDecision,
        departed: int,
        roster_faults: int,
    ) -> Publication:
        totals = await self._totals(connection)
        totals |= {"persons_departed": departed, "roster_faults": roster_faults}
        totals["persons_total"] += departed
        exit_code = exit_decision(totals)
        last_no = select(func.coalesce(func.max(run.c.publication_no), 0)).where(
            run.c.tenant_id == self.lease.tenant_id
        )
        number = (await connection.execute(last_no)).scalar_one() + 1
        now = self.database.runtime.now()
        last_at = (
            await connection.execute(
                select(func.max(run.c.published_at)).where(run.c.tenant_id == self.lease.tenant_id)
            )
        ).scalar_one()
        published_at = now if last_at is None else max(now, last_at)
        await connection.execute(
            update(run)
            .where(run.c.run_id == self.handle.run_id)
            .values(
                status=RunStatus.PUBLISHED,
                publication_no=number,
                published_at=published_at,
                finished_at=now,
                exit_code=exit_code,
                reason=None,
                **totals,
            )
        )
        return Publication(published_at=published_at, totals=totals, exit_code=exit_code)

    async def _totals(self, connection: AsyncConnection) -> dict[str, int]:
        """The ledger's totals, counted from the rows, so that they add up by construction."""
        run_id = self.handle.run_id
        totals: dict[str, int] = dict.fromkeys(TOTALS, 0)
        per_person = (
            select(
                person_area.c.person_id,
                func.count().label("areas"),
                func.count().filter(person_area.c.is_complete).label("complete"),
                func.coalesce(
                    func.sum(person_area.c.record_count).filter(person_area.c.is_complete), 0
                ).label("rows"),
            )
            .where(person_area.c.run_id == run_id)
            .group_by(person_area.c.person_id)
            .subquery()
        )
        row = (
            await connection.execute(
                select(
                    func.count().label("persons"),
                    func.count().filter(per_person.c.areas == per_person.c.complete).label("whole"),
                    func.coalesce(func.sum(per_person.c.areas), 0).label("areas"),
                    func.coalesce(func.sum(per_person.c.complete), 0).label("complete"),
                    func.coalesce(func.sum(per_person.c.rows), 0).label("rows"),
                ).select_from(per_person)
            )
        ).one()
        totals["persons_total"] = row.persons
        totals["persons_complete"] = row.whole
        totals["persons_stale"] = row.persons - row.whole
        totals["areas_complete"] = int(row.complete)
        totals["areas_failed"] = int(row.areas) - int(row.complete)
        totals["rows_read"] = int(row.rows)
        for table in VERSIONS.values():
            await self._add_row_totals(connection, table, totals)
        totals["rows_unchanged"] = (
            totals["rows_read"]
            - totals["rows_opened"]
            - totals["rows_changed"]
            - totals["rows_moved"]
        )
        cost = (
            await connection.execute(
                select(
                    func.coalesce(func.sum(attempt.c.requests), 0),
                    func.coalesce(func.sum(attempt.c.retries), 0),
                ).where(attempt.c.run_id == run_id)
            )
        ).one()
        totals["requests"], totals["retries"] = int(cost[0]), int(cost[1])
        return totals

    async def _add_row_totals(
        self, connection: AsyncConnection, table: Table, totals: dict[str, int]
    ) -> None:
        """Opened, changed, moved and closed rows of one area: each row in one of them."""
        run_id = self.handle.run_id
        old, new = table.alias("old"), table.alias("new")

        def pairs(same_person: ColumnElement[bool]) -> Any:
            return (
                select(old.c.version_id)
                .where(
                    old.c.closed_run == run_id,
                    old.c.restriction_id == new.c.restriction_id,
                    same_person,
                    _same_tenant(old, new),
                )
                .exists()
            )

        is_changed = pairs(old.c.person_id == new.c.person_id)
        is_moved = and_(~is_changed, pairs(old.c.person_id != new.c.person_id))
        row = (
            await connection.execute(
                select(
                    func.count().filter(~is_changed, ~is_moved).label("opened"),
                    func.count().filter(is_changed).label("changed"),
                    func.count().filter(is_moved).label("moved"),
                ).where(new.c.opened_run == run_id)
            )
        ).one()
        closed = (
            await connection.execute(
                select(func.count()).select_from(table).where(table.c.closed_run == run_id)
            )
        ).scalar_one()
        totals["rows_opened"] += row.opened
        totals["rows_changed"] += row.changed
        totals["rows_moved"] += row.moved
        totals["rows_closed"] += max(closed - row.changed - row.moved, 0)


TOTALS: Final = (
    "persons_total",
    "persons_complete",
    "persons_stale",
    "persons_departed",
    "roster_faults",
    "areas_complete",
    "areas_failed",
    "rows_read",
    "rows_opened",
    "rows_changed",
    "rows_closed",
    "rows_moved",
    "rows_unchanged",
    "requests",
    "retries",
)
"""The counters of a run, as columns of the ``run`` table."""


def _same_tenant(one: Any, other: Any) -> ColumnElement[bool]:
    """Both rows' persons belong to one tenant."""
    p, q = person.alias(), person.alias()
    return (
        select(p.c.tenant_id)
        .where(
            p.c.person_id == one.c.person_id,
            q.c.person_id == other.c.person_id,
            p.c.tenant_id == q.c.tenant_id,
        )
        .exists()
    )
