"""Holds the lease for the duration of a block; optionally waits for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog

from worker.core.sharding import ShardAssignment
from worker.errors import LeaseHeldError, StoppedError, WorkerError
from worker.store.database import Database
from worker.store.runs.lease import Lease, acquire
from worker.store.runs.process_identity import this_process
from worker.store.shards.assignments import acquire_shard

log = structlog.get_logger(__name__)

_POLL_S: Final = 1.0


@asynccontextmanager
async def held_lease(
    database: Database,
    *,
    ttl_s: float,
    part: ShardAssignment | None = None,
    wait_s: float = 0.0,
    stop: anyio.Event | None = None,
) -> AsyncIterator[Lease]:
    """Acquire the lease of an ordinary run or of one shard; release it on exit.

    Args:
        part: the shard; None for an ordinary run.
        wait_s: how long to wait while another process holds it.

    Raises:
        LeaseHeldError: another process still holds it.
        StoppedError: ``stop`` was set while waiting.
    """
    lease = await _acquire(database, ttl_s, part, wait_s, stop)
    if database.liveness is not None:
        await database.liveness.prepare()
    try:
        yield lease
    finally:
        with anyio.CancelScope(shield=True):
            try:
                await lease.release()
            except WorkerError as error:  # it expires by itself, and committed work stands
                log.warning("lease.not_released", reason=error.message, expires_in_s=lease.ttl_s)


async def _acquire(
    database: Database,
    ttl_s: float,
    part: ShardAssignment | None,
    wait_s: float,
    stop: anyio.Event | None,
) -> Lease:
    runtime = database.runtime
    holder = this_process(runtime.new_id())
    started_s = runtime.monotonic()
    is_reported = False
    while True:
        try:
            if part is None:
                return await acquire(database, holder, ttl_s=ttl_s)
            return await acquire_shard(database, holder, part=part, ttl_s=ttl_s)
        except LeaseHeldError as error:
            if runtime.monotonic() - started_s >= wait_s:
                raise
            if stop is not None and stop.is_set():
                raise StoppedError("stopped while waiting for another run to end") from None
            if not is_reported:
                log.warning("lease.waiting", reason=error.message, wait_s=wait_s)
                is_reported = True
            await runtime.sleep(_POLL_S)
