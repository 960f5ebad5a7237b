"""Publication: one transaction in which drafts become what readers see (promise 2).

In this order, all or nothing: persons whom two full rosters in a row do not name depart, the guard
decides, the run gets its number, the drafts are applied, and the facts are counted.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import msgspec
import structlog
from sqlalchemy import Connection, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.guard import GuardFacts, GuardLimits, judge, warnings
from worker.core.model import RunStatus
from worker.core.plurals import counted
from worker.core.run import Publication, RunHandle, RunProgress, exit_code_of
from worker.core.value import Value
from worker.errors import ExitCode, WithheldError
from worker.store.database import Database
from worker.store.runs.applying import Application
from worker.store.runs.facts import write_facts
from worker.store.runs.guard_facts import Counted, accepted_facts, count_run
from worker.store.runs.ledger import cost_of
from worker.store.schema.tables import CHANGES, TOTALS, draft, drift, run

log = structlog.get_logger(__name__)


class Publisher(Value, frozen=True, kw_only=True):
    """Publishes one run.

    Attributes:
        others: runs that stay open beside it.
        may_depart: the roster was read to its end without a bad line, so that it counts as a full
            one; never in a backfill.
        progress: of the run attempt that publishes.
    """

    database: Database
    handle: RunHandle
    others: tuple[int, ...]
    limits: GuardLimits
    may_depart: bool
    progress: RunProgress

    async def publish(self, connection: AsyncConnection) -> Publication:
        """Publish the run in the caller's transaction, which has renewed the lease.

        Raises:
            WithheldError: the guard found reasons; what was done here must not be committed.
        """
        if self.database.dialect.name == "postgresql":
            # Nobody has analysed what stands in the drafts, and autovacuum looks once a minute.
            tables = ", ".join(table.name for table in (draft, *CHANGES.values()))
            await connection.exec_driver_sql(f"ANALYZE {tables}")
        now = await self.database.now(connection)
        return await connection.run_sync(self._publish, now)

    def _publish(self, connection: Connection, now: datetime) -> Publication:
        run_id = self.handle.run_id
        if already := _publication_of(connection, run_id):
            return already
        last_no, last_at = connection.execute(
            select(func.max(run.c.publication_no), func.max(run.c.published_at))
        ).one()
        application = Application(
            connection=connection,
            run_id=run_id,
            attempt=self.handle.attempt,
            number=(last_no or 0) + 1,
            at=self._instant(now, last_at),
        )
        departing, missing = application.depart() if self.may_depart else (0, 0)
        found = count_run(
            application,
            self.handle,
            departing=departing,
            missing=missing,
            roster_faults=self.progress.roster_faults,
        )
        self._judge(connection, found.facts)
        done = self._mark(connection, application, found)
        seq, joined = application.apply(has_unconfirmed=found.unconfirmed > 0)
        write_facts(application, seq=seq, joined=joined)
        if self.others:
            application.forget_outdated(self.others)
        return done

    def _judge(self, connection: Connection, facts: GuardFacts) -> None:
        """Apply the guard.

        Raises:
            WithheldError: it found reasons.
        """
        limits = self.limits
        if limits.accept_removals:
            accepted = accepted_facts(connection, self.handle)
            limits = msgspec.structs.replace(limits, accepted=accepted)
        verdict = judge(facts, limits)
        log.info(
            "run.judged",
            run=self.handle.run_id,
            withheld=bool(verdict.reasons),
            **msgspec.to_builtins(facts),
        )
        if verdict.reasons:
            raise WithheldError(
                "withheld, the last published state stands: " + "; ".join(verdict.reasons),
                hint=verdict.hint,
                facts=msgspec.json.encode(facts).decode(),
            )

    def _mark(
        self, connection: Connection, application: Application, found: Counted
    ) -> Publication:
        """Give the run its number and time."""
        facts, totals, unconfirmed = found
        totals["persons_total"] += facts.departing
        totals["persons_departed"] = facts.departing
        totals["persons_not_sent"] = self.progress.persons_not_sent
        totals["roster_faults"] = self.progress.roster_faults
        totals |= cost_of(self.handle, self.progress)
        done = Publication(
            published_at=application.at,
            totals=totals,
            exit_code=exit_code_of(totals),
            warnings=(*_not_read_again(unconfirmed), *warnings(facts, self.limits)),
            new_fields=_new_fields(connection, self.handle.run_id),
        )
        connection.execute(
            update(run)
            .where(run.c.run_id == self.handle.run_id)
            .values(
                status=RunStatus.PUBLISHED,
                publication_no=application.number,
                published_at=done.published_at,
                day=application.day.isoformat(),
                finished_at=self.database.runtime.now(),
                exit_code=done.exit_code,
                reason="; ".join(filter(None, [*_gaps(totals), *done.warnings, done.drift]))
                or None,
                guard=msgspec.json.encode(facts).decode(),
                **totals,
            )
        )
        return done

    def _instant(self, now: datetime, last_at: datetime | None) -> datetime:
        """The time of the publication, by the server's clock if there is one.

        It is after every earlier publication, so that "as of" gives each its own state, whatever a
        clock does.
        """
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


def _gaps(totals: Mapping[str, int]) -> Iterator[str]:
    """Why it was published with gaps."""
    if faults := totals["roster_faults"]:
        yield f"{counted(faults, 'line')} of the roster could not be read"
    if failed := totals["areas_failed"]:
        yield f"{counted(failed, 'person-area')} could not be read"


def _not_read_again(unconfirmed: int) -> tuple[str, ...]:
    """What is said of first reads whose person has left the roster since, and was not found."""
    what = counted(unconfirmed, "person-area")
    return (f"not read a second time, as the roster has changed: {what}",) if unconfirmed else ()


def _publication_of(connection: Connection, run_id: int) -> Publication | None:
    """The publication of a run: that of an earlier commit whose acknowledgement was lost."""
    row = connection.execute(select(run).where(run.c.run_id == run_id)).one()
    if row.status != RunStatus.PUBLISHED:
        return None
    return Publication(
        published_at=row.published_at,
        totals={name: getattr(row, name) for name in TOTALS},
        exit_code=ExitCode(row.exit_code),
        new_fields=_new_fields(connection, run_id),
    )


def _new_fields(connection: Connection, run_id: int) -> tuple[str, ...]:
    """The undeclared fields that this run was the first to see."""
    query = select(drift.c.area, drift.c.field).where(drift.c.first_run == run_id)
    rows = connection.execute(query.order_by(drift.c.area, drift.c.field))
    return tuple(f"{row.area} {row.field}" for row in rows)
