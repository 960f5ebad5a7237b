"""``status``: recent runs, the age of the published snapshot, failures and the lease."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from worker.app import App
from worker.core.clocks import CLOCK_TOLERANCE, is_of_the_future
from worker.store.database import Database
from worker.store.queries.status import (
    AreaStaleness,
    FailureCount,
    LeaseState,
    RunFacts,
    area_staleness,
    continued_by_next_sync,
    failure_counts,
    last_full_publication,
    last_publication,
    last_runs,
    lease_state,
    settled_in,
)
from worker.store.runs.ledger import open_runs
from worker.store.runs.quiet import quiet_until
from worker.store.shards.assignments import ShardState, shard_states


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What readers see: the last publication, of a full run or a backfill."""

    publication_no: int
    run_id: int
    kind: str
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShard(ShardState):
    """One shard of an open run; ``of`` is the number of shards."""

    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that is neither published nor abandoned."""

    run_id: int
    status: str
    started_at: datetime
    persons_read: int
    continued_by_next_sync: bool
    run_key: str | None
    shards: Sequence[RunShard]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """One run of the ledger. See ``worker.store.queries.status.RunFacts``."""

    run_id: int
    kind: str
    status: str
    exit_code: int | None
    reason: str | None
    areas: tuple[str, ...]
    turns: int
    started_at: datetime
    finished_at: datetime | None
    published_at: datetime | None
    totals: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of the store. Runs are listed latest first.

    Attributes:
        quiet_until: when the quiet ends that HelseID or PTS asked an earlier run for.
    """

    now: datetime
    freshness: Freshness
    last_publication: Publication | None
    gaps: Sequence[AreaStaleness]
    failures: Sequence[FailureCount]
    lease: LeaseState | None
    quiet_until: datetime | None
    open_run: OpenRun | None
    runs: Sequence[RunLine]


async def read_status(app: App, *, max_age: timedelta | None, runs: int) -> Status:
    """Read the state of the store. Changes nothing.

    Raises:
        SchemaError: the database is missing, behind or ahead.
    """
    async with app.database() as store:
        now = await store.read(store.now)
        return Status(
            now=now,
            freshness=_freshness(await last_full_publication(store), now, max_age),
            last_publication=_publication(await last_publication(store)),
            gaps=await area_staleness(store),
            failures=await failure_counts(store),
            lease=await lease_state(store),
            quiet_until=await quiet_until(store),
            open_run=await _open_run(app, store),
            runs=[_line(run) for run in await last_runs(store, runs)],
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


def _publication(last: RunFacts | None) -> Publication | None:
    if last is None or last.publication_no is None or last.published_at is None:
        return None
    return Publication(
        publication_no=last.publication_no,
        run_id=last.run_id,
        kind=last.kind,
        published_at=last.published_at,
    )


def _line(run: RunFacts) -> RunLine:
    fields = asdict(run)
    del fields["publication_no"]
    return RunLine(**fields)


async def _open_run(app: App, store: Database) -> OpenRun | None:
    rows = await store.read(open_runs)
    sync = app.settings.sync
    chosen = continued_by_next_sync(
        rows, areas=sync.areas, within=sync.continue_within, now=app.runtime.now()
    )
    row = chosen if chosen is not None else next(iter(rows), None)
    if row is None:
        return None
    read = await settled_in(store, row.run_id, len(sync.areas))
    shards = await shard_states(store, row.run_id) if row.shards else ()
    return OpenRun(
        run_id=row.run_id,
        status=row.status,
        started_at=row.started_at,
        persons_read=read.persons,
        continued_by_next_sync=chosen is not None,
        run_key=row.run_key,
        shards=[RunShard(of=row.shards, **asdict(shard)) for shard in shards],
    )
