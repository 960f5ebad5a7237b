"""``status``: recent runs, the age of the published snapshot, failures and the lease."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from worker.app import App
from worker.core.clocks import CLOCK_TOLERANCE, is_of_the_future
from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.store.database import Database
from worker.store.queries.status import (
    AreaStaleness,
    FailureCount,
    LeaseState,
    Publication,
    RunFacts,
    area_staleness,
    failure_counts,
    last_full_publication,
    last_publication,
    last_runs,
    lease_state,
    settled_in,
)
from worker.store.runs.ledger import is_continuable, open_runs


class Freshness(Value, frozen=True, kw_only=True):
    """The last published full run and its age.

    Attributes:
        published_at: the publication's time; later than now if a clock was wrong.
        age_s: since the publication; if that is in the future, since the end of its run: a wrong
            clock of an earlier run may have moved the publication's time forward.
        is_fresh: whether the snapshot is at most ``max_age_s`` old; ``None`` without such a limit.
            A snapshot of the future is not fresh.
    """

    published_at: datetime | None
    run_id: int | None
    age_s: float | None
    max_age_s: float | None
    is_fresh: bool | None


class OpenRun(Value, frozen=True, kw_only=True):
    """A run that is neither published nor abandoned."""

    run_id: int
    status: str
    started_at: datetime
    persons_read: int
    continued_by_next_sync: bool


class Status(Value, frozen=True, kw_only=True):
    """The state of the store. Runs are listed latest first."""

    now: datetime
    freshness: Freshness
    last_publication: Publication | None
    gaps: Sequence[AreaStaleness]
    failures: Sequence[FailureCount]
    lease: LeaseState | None
    open_run: OpenRun | None
    runs: Sequence[RunFacts]


async def read_status(app: App, *, max_age: timedelta | None, runs: int) -> Status:
    """Read the state of the store. Changes nothing.

    Raises:
        SchemaError: the database is missing, behind or ahead.
    """
    async with app.database() as store:
        now = await store.read(store.now)
        return Status(
            now=now,
            freshness=_freshness(await store.read(last_full_publication), now, max_age),
            last_publication=await store.read(last_publication),
            gaps=await store.read(area_staleness),
            failures=await store.read(failure_counts),
            lease=await lease_state(store),
            open_run=await _open_run(app, store),
            runs=await store.read(last_runs, runs),
        )


def continued_by_next_sync(app: App, rows: Sequence[Any]) -> Any | None:
    """The open run (of ``ledger.open_runs``) that the next ``sync`` continues."""
    sync, now = app.settings.sync, app.runtime.now()
    try:
        contract = app.contract_read()
    except ConfigurationError:  # the next sync ends with it, and continues none
        return None
    within = sync.continue_within
    return next(
        (row for row in rows if is_continuable(row, sync.areas, contract, within, now)), None
    )


def _freshness(last: RunFacts | None, now: datetime, max_age: timedelta | None) -> Freshness:
    published_at = last.published_at if last else None
    age_s = (now - published_at).total_seconds() if published_at else None
    if last and last.finished_at and published_at and is_of_the_future(published_at, now):
        age_s = (now - last.finished_at).total_seconds()
    max_age_s = None if max_age is None else max_age.total_seconds()
    return Freshness(
        published_at=published_at,
        run_id=last.run_id if last else None,
        age_s=age_s,
        max_age_s=max_age_s,
        is_fresh=None
        if max_age_s is None
        else age_s is not None and -CLOCK_TOLERANCE.total_seconds() <= age_s <= max_age_s,
    )


async def _open_run(app: App, store: Database) -> OpenRun | None:
    rows = await store.read(open_runs)
    chosen = continued_by_next_sync(app, rows)
    row = chosen if chosen is not None else next(iter(rows), None)
    if row is None:
        return None
    read = await store.read(settled_in, row.run_id, len(app.settings.sync.areas))
    return OpenRun(
        run_id=row.run_id,
        status=row.status,
        started_at=row.started_at,
        persons_read=read.persons,
        continued_by_next_sync=chosen is not None,
    )
