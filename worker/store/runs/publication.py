"""Publication: one transaction in which a whole run becomes what readers see (promise 2).

In this order, all of it or nothing: persons who left the roster are departed, restrictions that
moved to another identifier are closed under the old one, the guard looks at the whole, the ledger's
totals are counted from the rows themselves, the run gets its publication number, and the facts of
this publication are written (``store.runs.facts``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec import to_builtins
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.confirmation import Removed
from worker.core.ending import exit_code_of
from worker.core.guard import GuardLimits, advice, reasons_to_withhold
from worker.core.model import RunKind, RunStatus
from worker.core.run import Publication, RunHandle
from worker.errors import ExitCode, WithheldError
from worker.store.database import Database
from worker.store.runs.departures import Departures
from worker.store.runs.facts import record_publication
from worker.store.runs.feed import last_number
from worker.store.runs.guard_facts import guard_facts, removed_by
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import open_in
from worker.store.runs.moves import close_moved, gone_claims, shared_areas
from worker.store.runs.totals import run_totals
from worker.store.schema.tables import (
    TOTALS,
    VERSIONS,
    area_key,
    attempt,
    person,
    person_area,
    run,
)

log = structlog.get_logger(__name__)

_LOOKED_AT: Final = {
    run: ("run_id", "status", "publication_no"),
    person: ("person_id", "first_run", "departed_run"),
    person_area: ("person_id", "area", "run_id", "attempt_id", "is_complete"),
} | dict.fromkeys(VERSIONS.values(), ("person_id", "restriction_id", "opened_run", "closed_run"))
"""What the statements of a publication join and choose by: payloads cost most, and say nothing."""
_ANALYZE: Final = "ANALYZE " + ", ".join(
    f"{table.name} ({', '.join(names)})" for table, names in _LOOKED_AT.items()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Publishes one run under the lease.

    Attributes:
        seen_by_attempts: run attempts whose sightings count as being on the roster; empty: this
            one alone. Each shard of a run has one.
    """

    database: Database
    lease: Lease
    handle: RunHandle
    seen_by_attempts: tuple[int, ...] = ()

    async def publish(
        self,
        limits: GuardLimits,
        *,
        may_depart: bool,
        roster_faults: int,
        persons_not_sent: int = 0,
        requests: int = 0,
        retries: int = 0,
    ) -> Publication:
        """Publish the run, or raise and leave everything as it was.

        Args:
            limits: the operator's limits, which the guard applies.
            may_depart: the roster was read to its end without a bad line, so that a person who is
                not on it has departed; never in a backfill.
            roster_faults: lines of the roster that could not be read.
            persons_not_sent: persons on the roster whom PTS was not asked about.
            requests: HTTP requests of this run attempt.
            retries: those among them that repeated another.

        Raises:
            WithheldError: the guard found reasons; nothing was changed.
            LeaseLostError: another holder took over; nothing was changed.
        """

        async def work(connection: AsyncConnection) -> Publication:
            await self.lease.renew(self.database, connection)
            already = await self.published(connection)
            if already is not None:
                return already
            await connection.execute(
                update(attempt)
                .where(attempt.c.attempt_id == self.handle.attempt_id)
                .values(
                    requests=requests,
                    retries=retries,
                    roster_faults=roster_faults,
                    persons_not_sent=persons_not_sent,
                )
            )
            return await self.publish_in(
                connection,
                limits,
                may_depart=may_depart,
                roster_faults=roster_faults,
                persons_not_sent=persons_not_sent,
            )

        return await self.database.write(work)

    async def publish_in(
        self,
        connection: AsyncConnection,
        limits: GuardLimits,
        *,
        may_depart: bool,
        roster_faults: int,
        persons_not_sent: int = 0,
    ) -> Publication:
        """``publish`` in the caller's transaction, which has renewed the lease.

        Raises:
            WithheldError: the guard found reasons; what was done here must not be committed.
        """
        await self._count_rows(connection)
        departures = self._departures()
        departed = await departures.depart(connection) if may_depart else 0
        open_now = await open_in(connection)
        others = [row.run_id for row in open_now if row.run_id != self.handle.run_id]
        shared = await shared_areas(connection)
        for area in sorted(shared):
            log.info("run.keys_shared", run=self.handle.run_id, area=area)
        await close_moved(connection, self.database.dialect, self.handle.run_id, others, shared)
        facts = await guard_facts(
            connection,
            self.handle,
            departing=departed,
            roster_faults=roster_faults,
            shared=shared,
        )
        reasons = reasons_to_withhold(facts, limits)
        log.info("run.judged", run=self.handle.run_id, withheld=bool(reasons), **to_builtins(facts))
        if reasons:
            raise WithheldError(
                "withheld, the last published state stands: " + "; ".join(reasons),
                hint=advice(reasons),
            )
        returned = await departures.restore(connection)
        await self._keep_key_paths(connection)
        outside = {
            "persons_departed": departed,
            "persons_not_sent": persons_not_sent,
            "roster_faults": roster_faults,
        }
        done = await self._mark(connection, outside, shared)
        await connection.run_sync(record_publication, self.handle.run_id, returned=returned)
        return done

    def _departures(self) -> Departures:
        return Departures(
            dialect=self.database.dialect,
            run_id=self.handle.run_id,
            seen_by_attempts=self.seen_by_attempts or (self.handle.attempt_id,),
        )

    async def _count_rows(self, connection: AsyncConnection) -> None:
        """Let PostgreSQL know how large the tables are by now (a sample; SQLite needs none).

        Autovacuum looks once a minute. Before its first look at a first run, the departures alone
        took 20 s at 20,000 persons, and grew with the square (docs/scale.md).
        """
        if self.database.dialect.name == "postgresql" and self.handle.kind == RunKind.SYNC:
            await connection.execute(text(_ANALYZE))

    async def removed_so_far(self, claimed: Mapping[str, Removed]) -> tuple[int, int]:
        """Restrictions that are gone for good by this run, and the persons who lose them.

        Args:
            claimed: by person key, those that it has not closed yet.
        """

        async def work(connection: AsyncConnection) -> tuple[int, int]:
            shared = await shared_areas(connection)
            removed, affected = await removed_by(connection, self.handle.run_id, shared)
            gone = await gone_claims(
                connection,
                self.database.dialect,
                claimed,
                run_id=self.handle.run_id,
                shared=shared,
            )
            return removed + sum(gone.values()), affected + len(gone)

        return await self.database.read(work)

    async def published(self, connection: AsyncConnection) -> Publication | None:
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

    async def _keep_key_paths(self, connection: AsyncConnection) -> None:
        """What this run was keyed by stays, though an open run that may be undone was first."""
        run_id = self.handle.run_id
        unpublished = select(run.c.run_id).where(
            run.c.publication_no.is_(None), run.c.run_id != run_id
        )
        is_used = (
            select(person_area.c.area)
            .where(
                person_area.c.area == area_key.c.area,
                person_area.c.run_id == run_id,
                person_area.c.is_complete,
                person_area.c.record_count > 0,
            )
            .exists()
        )
        await connection.execute(
            update(area_key)
            .where(area_key.c.since_run.in_(unpublished), is_used)
            .values(since_run=run_id)
        )

    async def _mark(
        self, connection: AsyncConnection, outside: Mapping[str, int], shared: Collection[str]
    ) -> Publication:
        """Give the run its number and time; ``outside`` are totals that its rows do not hold."""
        totals = {**await run_totals(connection, self.handle.run_id, shared), **outside}
        totals["persons_total"] += totals["persons_departed"]
        exit_code = exit_code_of(totals)
        last_no = select(func.coalesce(func.max(run.c.publication_no), 0))
        last = (await connection.execute(last_no)).scalar_one()
        number = max(last, await last_number(connection)) + 1
        published_at = await self._instant(connection)
        await connection.execute(
            update(run)
            .where(run.c.run_id == self.handle.run_id)
            .values(
                status=RunStatus.PUBLISHED,
                publication_no=number,
                published_at=published_at,
                finished_at=self.database.runtime.now(),
                exit_code=exit_code,
                reason=None,
                **totals,
            )
        )
        return Publication(published_at=published_at, totals=totals, exit_code=exit_code)

    async def _instant(self, connection: AsyncConnection) -> datetime:
        """The publication's own instant, by the server's clock where there is one.

        It lies behind every earlier publication, so that "as of" gives each its own state, whatever
        a clock does.
        """
        now = await self.database.now(connection)
        last_at: datetime | None = (
            await connection.execute(select(func.max(run.c.published_at)))
        ).scalar_one()
        if last_at is None or now > last_at:
            return now
        if now < last_at:
            log.warning(
                "clock.went_backwards",
                run=self.handle.run_id,
                by_s=(last_at - now).total_seconds(),
                hint="the last publication was dated later than it is now; this one is dated just "
                "behind it. Is the clock right now, and was it then?",
            )
        return last_at + timedelta.resolution
