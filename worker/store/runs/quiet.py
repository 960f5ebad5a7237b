"""The quiet that HelseID or PTS asked for when it ended a run attempt (``Retry-After``).

A scheduler that restarts the worker knows nothing of it: the ledger does.
"""

from datetime import datetime
from typing import Final

import anyio
import structlog
from sqlalchemy import select

from worker.core.quiet import is_binding
from worker.core.retry import instant_after
from worker.errors import StoppedError, UnavailableError
from worker.store.database import Database, rows_of
from worker.store.runs.lease import Lease
from worker.store.schema.tables import attempt

log = structlog.get_logger(__name__)

_POLL_S: Final = 1.0


async def quiet_until(database: Database) -> datetime | None:
    """Until when no request may be sent; None if nothing was asked for, or it is over."""
    now = database.runtime.now()
    query = select(attempt.c.ended_at, attempt.c.not_before).where(
        attempt.c.not_before > now, attempt.c.ended_at.is_not(None)
    )
    rows = await database.read(rows_of, query)
    binding = [row.not_before for row in rows if is_binding(row.ended_at, row.not_before, now)]
    return max(binding, default=None)


async def refuse_during_quiet(database: Database, *, wait_s_max: float = 0.0) -> float:
    """How many seconds are left of the quiet; 0 if there is none.

    Raises:
        UnavailableError: it lasts for more than ``wait_s_max`` seconds.
    """
    until = await quiet_until(database)
    if until is None:
        return 0.0
    left_s = (until - database.runtime.now()).total_seconds()
    if left_s > wait_s_max:
        raise UnavailableError(
            f"HelseID or PTS asked for quiet until {until.isoformat(timespec='seconds')} "
            "(Retry-After) when it ended an earlier run; nothing was sent",
            hint="run again after that time; it continues within sync.continue_within",
            not_before=until,
        )
    return max(0.0, left_s)


async def keep_quiet(lease: Lease, *, wait_s_max: float, stop: anyio.Event) -> None:
    """Wait for the end of the quiet, if it is near, and keep the lease meanwhile.

    Raises:
        UnavailableError: it lasts for more than ``wait_s_max`` seconds.
        StoppedError: ``stop`` was set while waiting.
        LeaseLostError: another holder took over.
    """
    runtime = lease.database.runtime
    wait_s = await refuse_during_quiet(lease.database, wait_s_max=wait_s_max)
    if wait_s:
        log.warning(
            "run.quiet", until=str(instant_after(runtime.now(), wait_s)), wait_s=round(wait_s)
        )
    end_s = runtime.monotonic() + wait_s
    while (left_s := end_s - runtime.monotonic()) > 0:
        if stop.is_set():
            raise StoppedError(
                "stopped while waiting for the end of the quiet that PTS or HelseID asked for",
                hint="nothing was sent",
            )
        await runtime.sleep(min(_POLL_S, left_s))
        await lease.keep()
