"""One run, from the lease to its end. Opens database, lease, reader and store, in this order."""

from contextlib import AsyncExitStack

import anyio
import structlog
from msgspec.structs import replace

from worker.app import App
from worker.core.breaker import Breaker
from worker.core.diff import Confirm
from worker.core.hosts import service_of
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunProgress, RunReport
from worker.core.value import Value
from worker.errors import ExitCode, WorkerError
from worker.ports import Roster
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader
from worker.roster.csv_file import CsvRoster
from worker.store.identity import establish_identity, establish_service
from worker.store.runs.lease import Lease, held_lease
from worker.store.runs.ledger import Purged, purge
from worker.store.runs.run_store import BackfillSelection, RunStore, open_run_store
from worker.store.status import RunFacts, last_full_publication
from worker.sync.pipeline import Pipeline
from worker.sync.producer import Producer
from worker.sync.reading import AreaReader
from worker.sync.run import Run

log = structlog.get_logger(__name__)


class RunRequest(Value, frozen=True, kw_only=True):
    """The options of a run.

    Attributes:
        kind: sync reads the complete roster, backfill a subset.
        roster: replaces the configured one.
        selection: selects the person-areas that a backfill reads.
        accept_removals: accept the removals of the last withheld run.
        accept_service: accept a new address of the same PTS.
    """

    kind: RunKind = RunKind.SYNC
    roster: Roster | None = None
    selection: BackfillSelection | None = None
    accept_removals: bool = False
    accept_service: bool = False
    wait_s: float = 0.0


async def run_sync(
    app: App, request: RunRequest, *, stop: anyio.Event, progress: RunProgress | None = None
) -> RunReport:
    """Execute one run, from the lease to its end.

    Args:
        progress: counters of the run.

    Raises:
        LeaseHeldError: another run is active. Nothing was done.
        LeaseLostError: another process took the lease.
        StoppedError: ``stop`` was set while waiting for the database or a lease.
        WorkerError: the run could not start.
    """
    # Read once: if the file is edited during the run, the run keeps one contract.
    identity, contract = app.identity(), app.contract()
    roster = request.roster or app.roster()
    progress = progress or RunProgress()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(app.database(stop=stop))
        pace = app.pace()
        lease = await stack.enter_async_context(
            held_lease(database, ttl_s=app.settings.lease.ttl_s, wait_s=request.wait_s, stop=stop)
        )
        await establish_identity(lease, identity)
        service = service_of(app.base_url())
        await establish_service(lease, service, is_accepted=request.accept_service)
        reader = await stack.enter_async_context(app.reader(pace, contract))
        store = await open_run_store(
            lease,
            kind=request.kind,
            areas=app.settings.sync.areas,
            terms=app.terms(contract),
            continue_within=app.settings.sync.continue_within,
            selection=request.selection,
            confirm=Confirm(app.settings.sync.confirm),
        )
        areas = _area_reader(app, reader, pace, store, progress)
        producer = Producer(
            roster=roster,
            store=store,
            identity=identity,
            progress=progress,
            sends_h_numbers=app.sends_h_numbers,
            breakers=areas.breakers,
        )
        pipeline = Pipeline(
            producer=producer,
            reader=areas,
            store=store,
            settings=app.settings.sync,
            runtime=app.runtime,
            progress=progress,
            stop=stop,
        )
        run = Run(
            pipeline=pipeline,
            store=store,
            settings=app.settings.sync,
            accept_removals=request.accept_removals,
            runtime=app.runtime,
            progress=progress,
        )
        last = await database.read(last_full_publication)
        if request.selection is None:
            progress.persons_expected = await _expected(roster, request, last)
        report = _with_last_status(app, await run.execute(), progress)
        if report.status == RunStatus.PUBLISHED and report.kind == RunKind.SYNC:
            await _apply_retention(app, lease, last, stop)
        return report


def _area_reader(
    app: App, reader: PtsReader, pace: Pace, store: RunStore, progress: RunProgress
) -> AreaReader:
    breakers = {
        area: Breaker(
            area=area,
            patience_s=app.settings.sync.patience.total_seconds(),
            wait_s_max=app.settings.sync.retry_after_max.total_seconds(),
            clock=app.runtime.monotonic,
            # A pause that PTS asked for with Retry-After does not count as an outage.
            paused_s=pace.paused_s,
            is_answered=area in store.handle.answered,
            is_answered_with_record=area in store.handle.answered_with_record,
        )
        for area in store.handle.areas
    }
    return AreaReader(
        pts_reader=reader,
        pace=pace,
        runtime=app.runtime,
        progress=progress,
        breakers=breakers,
    )


async def _expected(roster: Roster, request: RunRequest, last: RunFacts | None) -> int:
    """Estimate the number of persons from the roster's lines or the last full publication."""
    if isinstance(roster, CsvRoster) and (lines := await roster.count_lines()):
        return lines
    if last is None or request.kind is not RunKind.SYNC:
        return 0
    return last.totals["persons_total"] - last.totals["persons_departed"]


def _with_last_status(app: App, report: RunReport, progress: RunProgress) -> RunReport:
    """Add the last status and the addresses of both servers to the report of an interrupted run."""
    slowness = progress.slowness()
    # If the client was refused, the report already has the reason of HelseID or PTS.
    is_explained = report.exit_code == ExitCode.REFUSED
    if report.status != RunStatus.INTERRUPTED or is_explained or not slowness:
        return report
    issuer = app.settings.helseid.issuer
    status = f"last status: {slowness}; PTS is {app.base_url()}, HelseID {issuer}"
    return replace(report, reasons=(*report.reasons, status))


async def _apply_retention(
    app: App, lease: Lease, last: RunFacts | None, stop: anyio.Event
) -> None:
    """Delete old versions and accesses. An error is only logged."""
    # The run is published, and the next run tries again.
    versions = app.settings.retention.versions
    last_sync_at = last.published_at if last else None
    try:
        purged = await purge(
            lease, versions=versions, last_sync_at=last_sync_at, is_stopping=stop.is_set
        )
    except WorkerError as error:
        log.error("retention.unfinished", reason=error.message, hint=error.hint)  # noqa: TRY400
        return
    if purged != Purged():
        log.info("retention.purged", versions=purged.versions, accesses=purged.accesses)
