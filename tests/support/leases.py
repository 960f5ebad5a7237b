"""The lease, as another run holds it."""

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.support.program import Installation
from tests.support.published import Store
from worker.app import App
from worker.config import load
from worker.core.model import RunKind
from worker.ports import real_runtime
from worker.store.database import open_database
from worker.store.runs.lease import Lease, acquire
from worker.store.runs.ledger import begin_run
from worker.views import iso_utc

LEASE: Final = "UPDATE lease SET expires_at = '{}'"


@contextlib.contextmanager
def held_elsewhere(store: Store) -> Iterator[None]:
    """Another machine's run is on, and renews its lease."""
    has_ended = threading.Event()

    def soon() -> str:
        return iso_utc(datetime.now(UTC) + timedelta(seconds=50))

    def renew() -> None:
        while not has_ended.wait(0.2):
            store.rows(LEASE.format(soon()))

    store.rows(
        "UPDATE lease SET holder = 'other', host = 'elsewhere', "
        "acquired_at = '2026-01-01T00:00:00.000000+00:00'"
    )
    store.rows(LEASE.format(soon()))
    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        yield
    finally:
        has_ended.set()
        renewing.join()
        store.rows("UPDATE lease SET holder = NULL, expires_at = NULL")


@contextlib.asynccontextmanager
async def run_under_way(worker: Installation) -> AsyncIterator[Lease]:
    """A run that this process has begun and not ended."""
    loaded = load(environ={"PTS_CONFIG": str(worker.config)}, cwd=worker.folder)
    async with open_database(worker.database_url, real_runtime()) as database:
        lease = await acquire(database, "other", ttl_s=50)
        await begin_run(
            lease,
            kind=RunKind.SYNC,
            areas=("patient-safety", "patient-privacy"),
            terms=App(loaded=loaded, runtime=real_runtime()).terms(),
            continue_within=timedelta(hours=12),
        )
        yield lease
        await lease.release()
