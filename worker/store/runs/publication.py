"""Publication: one transaction in which drafts become what readers see (promise 2).

In this order, all or nothing: persons whom two full rosters in a row do not name depart, the guard
decides by what is counted from the drafts, the run gets its number, the drafts are applied, and
the facts are counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import structlog
from sqlalchemy import Connection, Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS, ResourceArea
from worker.core.display import counted
from worker.core.effect import instant_sql
from worker.core.guard import AreaFacts, GuardFacts, GuardLimits, judge, warnings
from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import Publication, RunHandle, RunProgress, exit_code_of
from worker.core.value import Value
from worker.errors import ExitCode, WithheldError
from worker.store import statements
from worker.store.database import Database
from worker.store.filling import DAYS_APART, filled
from worker.store.schema.tables import CHANGES, TOTALS, VERSIONS, draft, drift, person, run

log = structlog.get_logger(__name__)

_ZONE: Final = ZoneInfo("Europe/Oslo")
"""Whose days publications are counted by."""
_WEEK: Final = timedelta(days=7)


class _Application(Value, frozen=True, kw_only=True):
    """The drafts of a run, on their way to be a publication: by statements, no row comes here.

    Attributes:
        handle: of the last attempt at the run, which has read the roster to its end.
        number, at: of the publication.
    """

    connection: Connection
    handle: RunHandle
    number: int
    at: datetime

    @property
    def day(self) -> date:
        """The date of the publication in Norway."""
        return self.at.astimezone(_ZONE).date()

    def depart(self) -> tuple[int, int]:
        """Mark persons as departed whom this full roster and the one before do not name.

        Returns:
            How many departed, and how many were missed for the first time.
        """
        if self.handle.attempt > 1:
            self.execute(statements.FORGET_UNSEEN)
            self.execute(statements.FORGET_LONE_CHANGES, runs=self.handle.run_id)
        return self.execute(statements.DEPART), self.execute(statements.MARK_MISSED)

    def forget_outdated(self) -> None:
        """Forget drafts of other open runs that were compared with what is no more published."""
        is_open = select(run.c.run_id).where(run.c.status.in_(sorted(OPEN_STATUSES)))
        if others := ", ".join(map(str, self.connection.execute(is_open).scalars())):
            self.execute(statements.FORGET_OUTDATED, runs=others)
            self.execute(statements.FORGET_LONE_CHANGES, runs=others)

    def counts(self, statement: str) -> Mapping[str, Mapping[str, int]]:
        """What a statement counts in each area that has any, and under no name in all together."""
        (sql,) = self._texts(statement)
        return {
            row["area"]: {name: int(value or 0) for name, value in row.items() if name != "area"}
            for row in self.connection.exec_driver_sql(sql).mappings()
        }

    def execute(self, statement: str, **more: object) -> int:
        """Execute a statement of all areas once, or one of an area for each; the rows it met."""
        done = [self.connection.exec_driver_sql(sql) for sql in self._texts(statement, **more)]
        return sum(one.rowcount for one in done)

    def _texts(self, statement: str, **more: object) -> Sequence[str]:
        dialect = self.connection.dialect.name
        values: dict[str, object] = {
            **more,
            "figures": statements.FIGURES[dialect],
            "week_figures": statements.WEEK_FIGURES[dialect],
            "run": self.handle.run_id,
            "pass_no": self.handle.pass_no(1),
            "no": self.number,
            "at": instant_sql(self.at),
            "week_ago": self.day - _WEEK,
        }
        for days in DAYS_APART:
            values[f"at{days:+}"] = instant_sql(self.at + timedelta(days=days))
        whole = filled(statement)
        return list(dict.fromkeys(filled(whole, area, **values) for area in AREAS))


class Publisher(Value, frozen=True, kw_only=True):
    """Publishes one run.

    Attributes:
        may_depart: the roster was read to its end without a bad line, so that it counts as a full
            one; never in a backfill.
        progress: of the run attempt that publishes.
    """

    database: Database
    handle: RunHandle
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
            # SQLite, where no table is analysed, finds drafts by their key: it begins with the run.
            await connection.run_sync(_analyse, draft, *CHANGES.values())
            # The facts group all that is open. In 4 MB, the default, that goes by way of files.
            await connection.exec_driver_sql("SET LOCAL work_mem = '64MB'")
            await connection.exec_driver_sql("SET LOCAL jit = off")
        now = await self.database.now(connection)
        return await connection.run_sync(self._publish, now)

    def _publish(self, connection: Connection, now: datetime) -> Publication:
        run_id = self.handle.run_id
        if already := _publication_of(connection, run_id):
            return already
        last_no, last_at = connection.execute(
            select(func.max(run.c.publication_no), func.max(run.c.published_at))
        ).one()
        application = _Application(
            connection=connection,
            handle=self.handle,
            number=(last_no or 0) + 1,
            # "As of" gives each publication its own state, whatever a clock does.
            at=now if last_at is None else max(now, last_at + timedelta.resolution),
        )
        departing, missing = application.depart() if self.may_depart else (0, 0)
        reads = application.counts(statements.COUNT_READS)[""]
        going = application.counts(statements.COUNT_GOING)
        facts = self._facts(application, reads, going, departing=departing, missing=missing)
        limits = self._judge(connection, facts)
        unconfirmed = sum(reads[f"{area.table}_unconfirmed"] for area in AREAS)
        lone = sum(reads[f"{area.table}_lone"] for area in AREAS)
        totals = self._totals(reads, going[""], departing)
        said = (*_not_read_again(lone), *warnings(facts, limits))
        done = self._mark(application, facts, totals, said)
        if unconfirmed:
            application.execute(statements.FAIL_UNCONFIRMED)
        for statement in statements.APPLIED:
            application.execute(statement)
        application.forget_outdated()
        is_mostly_new = going[""]["rows_opened"] > facts.open_before
        if is_mostly_new and connection.dialect.name == "postgresql":
            # What a reader prepared while next to nothing was there keeps its plan until then.
            _analyse(connection, person, *VERSIONS.values())
        return done

    def _facts(
        self,
        application: _Application,
        reads: Mapping[str, int],
        going: Mapping[str, Mapping[str, int]],
        **rosters: int,
    ) -> GuardFacts:
        """What the guard judges by.

        Args:
            reads, going: what the run has read and would change.
            rosters: the persons whom its roster does not name.
        """
        opened = application.counts(statements.COUNT_OPEN)
        is_subset = self.handle.kind == RunKind.BACKFILL
        subset = application.counts(statements.COUNT_SUBSET_OPEN) if is_subset else opened
        before = application.counts(statements.COUNT_BEFORE)[""]
        holders = application.counts(statements.COUNT_HOLDERS)

        def of_area(area: ResourceArea) -> AreaFacts:
            goes = _without_totals(going.get(area.name, {}))
            faults = self.progress.roster_faults if area.name in self.handle.areas else 0
            return AreaFacts(
                area=area.name,
                open_before=opened[area.name]["open_before"] if any(goes.values()) else 0,
                **goes,
                attempted=reads[f"{area.table}_attempted"] + faults,
                complete=reads[f"{area.table}_complete"],
                records=reads[f"{area.table}_records"],
                **holders[area.name],
                is_first=not before[f"{area.table}_syncs"],
            )

        return GuardFacts(
            **subset[""],
            **_without_totals(going[""]),
            **rosters,
            persons_before=before["persons"],
            is_subset=is_subset,
            areas=tuple(map(of_area, AREAS)),
        )

    def _judge(self, connection: Connection, facts: GuardFacts) -> GuardLimits:
        """Apply the guard, and return the limits with what a person has accepted.

        Raises:
            WithheldError: it found reasons.
        """
        limits = self.limits
        if limits.accept_removals:
            accepted = _accepted_facts(connection, self.handle)
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
        return limits

    def _totals(
        self, reads: Mapping[str, int], going: Mapping[str, int], departing: int
    ) -> Mapping[str, int]:
        """The counters of the ledger."""
        complete, attempted, records = (
            sum(reads[f"{area.table}_{name}"] for area in AREAS)
            for name in ("complete", "attempted", "records")
        )
        return {
            **read_so_far(self.handle, self.progress),
            "persons_total": reads["persons"] + departing,
            "persons_complete": reads["complete"],
            "persons_stale": reads["persons"] - reads["complete"],
            "persons_departed": departing,
            "areas_complete": complete,
            "areas_failed": attempted - complete,
            "rows_read": records,
            "rows_opened": going["rows_opened"],
            "rows_changed": going["rows_changed"],
            "rows_closed": going["rows_closed"],
            "rows_unchanged": records - going["rows_opened"] - going["rows_changed"],
        }

    def _mark(
        self,
        application: _Application,
        facts: GuardFacts,
        totals: Mapping[str, int],
        said: tuple[str, ...],
    ) -> Publication:
        """Give the run its number and time."""
        connection = application.connection
        done = Publication(
            published_at=application.at,
            totals=totals,
            exit_code=exit_code_of(totals),
            warnings=said,
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


def _analyse(connection: Connection, *tables: Table) -> None:
    connection.exec_driver_sql(f"ANALYZE {', '.join(table.name for table in tables)}")


def _gaps(totals: Mapping[str, int]) -> Iterator[str]:
    """Why it was published with gaps."""
    if faults := totals["roster_faults"]:
        yield f"{counted(faults, 'line')} of the roster could not be read"
    if failed := totals["areas_failed"]:
        yield f"{counted(failed, 'person-area')} could not be read"


def _not_read_again(lone: int) -> tuple[str, ...]:
    """The warning about first reads whose person has left the roster since."""
    areas = counted(lone, "person-area")
    return (f"not read a second time, as the roster has changed: {areas}",) if lone else ()


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


def read_so_far(handle: RunHandle, progress: RunProgress) -> dict[str, int]:
    """The counters of a run that is not published.

    The requests are those of all attempts; those of one that was killed are not known.
    """
    # A sync passes over those whom an earlier attempt has read, a backfill over the others.
    before = progress.persons_skipped if handle.kind == RunKind.SYNC else 0
    complete = progress.persons_complete + before
    return dict.fromkeys(TOTALS, 0) | {
        "persons_total": complete + progress.persons_with_gaps,
        "persons_complete": complete,
        "persons_stale": progress.persons_with_gaps,
        "persons_not_sent": progress.persons_not_sent,
        "roster_faults": progress.roster_faults,
        "requests": handle.requests_before + progress.requests,
        "retries": handle.retries_before + progress.retries,
    }


def _without_totals(going: Mapping[str, int]) -> Mapping[str, int]:
    return {name: count for name, count in going.items() if name not in TOTALS}


def _accepted_facts(connection: Connection, handle: RunHandle) -> GuardFacts | None:
    """What the last withheld run counted, if nothing full was published since."""
    last = connection.execute(
        select(run)
        .where(
            run.c.run_id < handle.run_id,
            run.c.kind == handle.kind,
            run.c.status.in_([RunStatus.PUBLISHED, RunStatus.WITHHELD]),
        )
        .order_by(run.c.run_id.desc())
        .limit(1)
    ).one_or_none()
    if last is None or last.status != RunStatus.WITHHELD or last.guard is None:
        return None
    return msgspec.json.decode(last.guard, type=GuardFacts)
