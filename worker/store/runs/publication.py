"""Publication: one transaction in which a complete run becomes what readers see (promise 2).

In this order, all or nothing: persons who left the roster become departed, the guard decides, the
ledger's totals are counted from the rows, the run gets its publication number, and the facts of the
publication are written (``store.runs.facts``).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec import to_builtins
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.ending import exit_code_of
from worker.core.guard import GuardFacts, GuardLimits, advice, reasons_to_withhold
from worker.core.model import RunKind, RunStatus
from worker.core.run import Publication, RunHandle, RunProgress
from worker.errors import ExitCode, WithheldError
from worker.store.catalogues import OUTDATED_STATISTICS
from worker.store.database import Database
from worker.store.runs.departures import Departures
from worker.store.runs.facts import record_publication
from worker.store.runs.feed import last_publication_no
from worker.store.runs.guard_facts import guard_facts
from worker.store.runs.totals import run_totals
from worker.store.schema.tables import (
    TOTALS,
    VERSIONS,
    drift,
    person,
    person_area,
    run,
)

log = structlog.get_logger(__name__)

_BY_EVERY_RUN: Final = {
    run: ("run_id", "status", "publication_no"),
    person_area: ("person_id", "area", "run_id", "attempt_id", "is_complete"),
}
"""What each run writes in all rows, so that no earlier statistics know it."""
_BY_CHANGES: Final = {person: ("person_id", "first_run", "departed_run")} | dict.fromkeys(
    VERSIONS.values(), ("person_id", "restriction_id", "opened_run", "closed_run")
)
"""With the above, what a publication joins and chooses by: `extra` costs most, and says nothing."""
_PLANNED: Final = (
    "SET LOCAL random_page_cost = 1.1",
    "SET LOCAL max_parallel_workers_per_gather = 0",
)
"""What changed is found by indexes, and has just been written, so that no disk is waited for; to
start processes for that takes longer than to do it."""


async def publish_run(
    connection: AsyncConnection,
    database: Database,
    handle: RunHandle,
    limits: GuardLimits,
    *,
    may_depart: bool,
    progress: RunProgress,
) -> Publication:
    """Publish a run in the caller's transaction, which has renewed the lease.

    Args:
        limits: the operator's limits, which the guard applies.
        may_depart: the roster was read to its end without a bad line, so that a person who is not
            on it has departed; never in a backfill.
        progress: of the run attempt that publishes.

    Raises:
        WithheldError: the guard found reasons; what was done here must not be committed.
    """
    run_id = handle.run_id
    await _prepare(connection, database, handle)
    departures = Departures(run_id=run_id, attempt_id=handle.attempt_id)
    departed = await departures.depart(connection) if may_depart else 0
    facts = await guard_facts(
        connection, handle, departing=departed, roster_faults=progress.roster_faults
    )
    _judge(run_id, facts, limits)
    returned = await departures.restore(connection)
    totals = await run_totals(connection, run_id)
    totals["persons_total"] += departed
    totals["persons_departed"] = departed
    totals["persons_not_sent"] = progress.persons_not_sent
    totals["roster_faults"] = progress.roster_faults
    done = await _mark(connection, database, run_id, totals)
    await connection.run_sync(record_publication, run_id, returned=returned)
    return done


def _judge(run_id: int, facts: GuardFacts, limits: GuardLimits) -> None:
    """Apply the guard.

    Raises:
        WithheldError: it found reasons.
    """
    reasons = reasons_to_withhold(facts, limits)
    log.info("run.judged", run=run_id, withheld=bool(reasons), **to_builtins(facts))
    if reasons:
        raise WithheldError(
            "withheld, the last published state stands: " + "; ".join(reasons),
            hint=advice(reasons),
        )


async def _prepare(connection: AsyncConnection, database: Database, handle: RunHandle) -> None:
    """Let PostgreSQL know how large the tables are by now (a sample), and plan by that.

    Autovacuum looks once a minute. Before its first look at a first run, the departures alone
    took 20 s at 20,000 persons, and grew with the square.
    """
    if database.dialect.name != "postgresql" or handle.kind != RunKind.SYNC:
        return
    outdated = set((await connection.execute(text(OUTDATED_STATISTICS))).scalars())
    wanted = _BY_EVERY_RUN | {
        table: names for table, names in _BY_CHANGES.items() if table.name in outdated
    }
    listed = ", ".join(f"{table.name} ({', '.join(names)})" for table, names in wanted.items())
    await connection.execute(text(f"ANALYZE {listed}"))
    for setting in _PLANNED:
        await connection.execute(text(setting))


async def publication_of(connection: AsyncConnection, run_id: int) -> Publication | None:
    """The publication of a run: that of an earlier commit whose acknowledgement was lost."""
    row = (await connection.execute(select(run).where(run.c.run_id == run_id))).one()
    if row.status != RunStatus.PUBLISHED:
        return None
    totals = {name: getattr(row, name) for name in TOTALS}
    return Publication(
        published_at=row.published_at,
        totals=totals,
        exit_code=ExitCode(row.exit_code),
        new_fields=await _new_fields(connection, run_id),
    )


async def _new_fields(connection: AsyncConnection, run_id: int) -> tuple[str, ...]:
    """The undeclared fields that this run was the first to see."""
    query = select(drift.c.area, drift.c.field).where(drift.c.first_run == run_id)
    rows = await connection.execute(query.order_by(drift.c.area, drift.c.field))
    return tuple(f"{row.area} {row.field}" for row in rows)


async def _mark(
    connection: AsyncConnection,
    database: Database,
    run_id: int,
    totals: Mapping[str, int],
) -> Publication:
    """Give the run its number and time."""
    number = await last_publication_no(connection) + 1
    done = Publication(
        published_at=await _instant(connection, database, run_id),
        totals=totals,
        exit_code=exit_code_of(totals),
        new_fields=await _new_fields(connection, run_id),
    )
    await connection.execute(
        update(run)
        .where(run.c.run_id == run_id)
        .values(
            status=RunStatus.PUBLISHED,
            publication_no=number,
            published_at=done.published_at,
            finished_at=database.runtime.now(),
            exit_code=done.exit_code,
            reason=done.drift or None,
            **totals,
        )
    )
    return done


async def _instant(connection: AsyncConnection, database: Database, run_id: int) -> datetime:
    """The time of the publication, by the server's clock if there is one.

    It is after every earlier publication, so that "as of" gives each its own state, whatever a
    clock does.
    """
    now = await database.now(connection)
    last_at: datetime | None = (
        await connection.execute(select(func.max(run.c.published_at)))
    ).scalar_one()
    if last_at is None or now > last_at:
        return now
    if now < last_at:
        log.warning(
            "clock.went_backwards",
            run=run_id,
            by_s=(last_at - now).total_seconds(),
            hint="the last publication was dated later than it is now; this one is dated just "
            "behind it. Is the clock right now, and was it then?",
        )
    return last_at + timedelta.resolution
