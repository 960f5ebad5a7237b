"""One run, from the lease to its end: opens what it needs, in order."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
import structlog

from worker.app import App
from worker.core.confirmation import Confirm
from worker.core.guard import GuardLimits
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunProgress, RunReport
from worker.core.sharding import ShardAssignment, per_hour
from worker.core.value import Value
from worker.errors import ConfigurationError, WorkerError
from worker.ports import Roster
from worker.pts.throttle import Throttle
from worker.store.database import Database
from worker.store.identity import check_identity
from worker.store.runs.lease import Lease
from worker.store.runs.lease_context import held_lease
from worker.store.runs.ledger import key_paths
from worker.store.runs.open_run_store import open_run_store, open_shard_store
from worker.store.runs.quiet import keep_quiet
from worker.store.runs.retention import Purged, RetentionRules, purge
from worker.store.runs.run_store import Choice, SqlRunStore
from worker.store.shards.assignments import refuse_sqlite
from worker.sync.options import RunOptions
from worker.sync.rate_share import RateShare, wait_for_share
from worker.sync.record_keys import KeyBook
from worker.sync.run import Run

log = structlog.get_logger(__name__)


class RunRequest(Value, frozen=True, kw_only=True):
    """What a command asks for.

    Attributes:
        kind: the complete roster, or a subset.
        roster: instead of the configured one.
        choice: the areas that a backfill reads.
        accept_removals: a person has decided that the removals are right.
        part: one shard of a run that several processes share; ``None``: the complete run.
    """

    kind: RunKind = RunKind.SYNC
    roster: Roster | None = None
    choice: Choice | None = None
    accept_removals: bool = False
    wait_s: float = 0.0
    part: ShardAssignment | None = None


async def run_sync(
    app: App,
    request: RunRequest,
    *,
    stop: anyio.Event,
    changed: Callable[[RunProgress], None] | None = None,
) -> RunReport:
    """Execute one run, from the lease to its end.

    Raises:
        LeaseHeldError: another run is active; nothing was done.
        LeaseLostError: another holder took over.
        WithheldError: the run of this key was withheld before.
        StoppedError: ``stop`` was set while waiting for the database, a lease or a quiet.
        UnavailableError: HelseID or PTS asked an earlier run for a quiet that is not over.
        WorkerError: the run could not begin.
    """
    areas = app.areas()
    identity = app.identity()
    roster = request.roster or app.roster()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(app.database(stop=stop))
        throttle = app.throttle()
        share = None if request.part is None else _share(app, database, throttle, request.part)
        lease = await stack.enter_async_context(
            held_lease(
                database,
                ttl_s=app.settings.lease.ttl_s,
                part=request.part,
                wait_s=request.wait_s,
                stop=stop,
            )
        )
        await keep_quiet(
            lease,
            wait_s_max=app.settings.sync.retry_after_max.total_seconds(),
            stop=stop,
        )
        identity = await check_identity(lease, identity)
        reader = await stack.enter_async_context(
            app.reader(areas, app.privacy(identity), throttle=throttle, share=share)
        )
        store = await _open_store(app, lease, request, share)
        if isinstance(store, RunReport):
            log.info("run.over", run=store.run_id, shard=str(store.shard))
            return store
        if share is not None:
            await wait_for_share(store, share, app.runtime, stop)
        known = await database.read(key_paths)
        run = Run(
            roster=roster,
            reader=reader,
            availability=throttle,
            store=store,
            keys=KeyBook(dict(known)),
            identity=identity,
            options=_options(app, accept_removals=request.accept_removals),
            runtime=app.runtime,
            stop=stop,
            cost=reader.stats,
        )
        run.progress.slowness = throttle.slowness
        if changed is not None:
            run.changed = changed
            changed(run.progress)
        report = await run.execute()
        if report.status == RunStatus.PUBLISHED and report.kind == RunKind.SYNC:
            await _forget_old(app, lease, stop)
        return report


async def _forget_old(app: App, lease: Lease, stop: anyio.Event) -> None:
    """Apply the retention settings. An error here does not change that the run is published."""
    kept = app.settings.retention
    rules = RetentionRules(versions=kept.versions, runs=kept.runs, access_log=kept.access_log)
    try:
        purged = await purge(lease, rules, is_stopping=stop.is_set)
    except WorkerError as error:
        log.error("retention.unfinished", reason=error.message, hint=error.hint)  # noqa: TRY400
        return
    if purged != Purged():
        log.info(
            "retention.purged",
            versions=purged.versions,
            labels=purged.labels,
            runs=purged.runs,
            accesses=purged.accesses,
        )


def _share(app: App, database: Database, throttle: Throttle, part: ShardAssignment) -> RateShare:
    """This shard's share of the request ceiling; it has none yet.

    Raises:
        ConfigurationError: the database allows no shards, or there are too many of them.
    """
    refuse_sqlite(database)
    ceiling = per_hour(app.settings.sync.requests_per_second)
    if ceiling < part.shard.count:
        raise ConfigurationError(
            f"sync.requests_per_second: too low to divide among {part.shard.count} shards"
        )
    return RateShare(throttle, ceiling, app.runtime)


async def _open_store(
    app: App, lease: Lease, request: RunRequest, share: RateShare | None
) -> SqlRunStore | RunReport:
    """The store of the run or of its shard; or the report of the run, if it has ended."""
    areas = app.settings.sync.areas
    continue_within = app.settings.sync.continue_within
    confirm = Confirm(app.settings.sync.confirm)
    if request.part is None or share is None:
        return await open_run_store(
            lease,
            kind=request.kind,
            areas=areas,
            continue_within=continue_within,
            choice=request.choice,
            confirm=confirm,
        )
    return await open_shard_store(
        lease,
        request.part,
        areas=areas,
        continue_within=continue_within,
        budget=share,
        confirm=confirm,
    )


def _options(app: App, *, accept_removals: bool) -> RunOptions:
    sync = app.settings.sync
    return RunOptions(
        persons_concurrent=sync.concurrency,
        batch_persons=sync.batch_persons,
        renew_s=app.settings.lease.ttl_s / 5,
        deadline_s=None if sync.deadline is None else sync.deadline.total_seconds(),
        limits=GuardLimits(
            max_removed_share=sync.max_removed_share,
            min_completeness=sync.min_completeness,
            accept_removals=accept_removals,
        ),
        sends_h_numbers=app.sends_h_numbers,
    )
