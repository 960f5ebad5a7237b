"""What could not be read: the failures of the latest run, for the ``failures`` commands.

A run that is not published leaves them in its drafts until the next one begins. Of whom it did not
read, or could read, the last publication's failures stand.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, Subquery, column, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.model import RunKind, RunStatus
from worker.core.value import Value
from worker.store.schema.tables import run
from worker.store.statements import filled
from worker.views import UtcTime

_OF_AREA: Final = """
SELECT p.person_key, p.person_id, p.local_ref, '{area}' AS area, p.{a}_failure_kind AS kind,
    p.{a}_failure_status AS status, p.{a}_failure_reason AS reason,
    p.{a}_failure_attempts AS attempts, p.{a}_failed_runs AS runs,
    p.{a}_failing_since AS first_at, p.{a}_failed_at AS last_at
FROM person p LEFT JOIN draft d ON d.run_id = {run} AND d.person_id = p.person_id
WHERE p.{a}_failure_kind IS NOT NULL AND p.departed_no IS NULL AND d.{a}_state IS NULL
UNION ALL
SELECT d.person_key, d.person_id, COALESCE(d.local_ref, p.local_ref), '{area}', d.{a}_failure_kind,
    d.{a}_failure_status, d.{a}_failure_reason, d.{a}_failure_attempts,
    COALESCE(p.{a}_failed_runs, 0) + 1, COALESCE(p.{a}_failing_since, d.{a}_read_at), d.{a}_read_at
FROM draft d LEFT JOIN person p ON p.person_id = d.person_id
WHERE d.run_id = {run} AND d.{a}_state = 'failed'
"""
"""Of an area: what the last publication left, unless the latest run has read the area since; and
what that run could not read, with the runs before it of whom a failure stands."""


class OpenFailure(Value, frozen=True, kw_only=True):
    """One area of one person that cannot be read at present.

    Attributes:
        person_key: the key in the store; None where it is a plain identifier and is shown.
        reason: without any value of the answer.
        attempts: HTTP attempts in the last run.
        runs: runs in a row in which it failed.
    """

    person_key: str | None
    person_id: int
    local_ref: str | None
    area: str
    kind: str
    status: int | None
    reason: str
    attempts: int
    runs: int
    first_at: datetime
    last_at: datetime


async def list_failures(connection: AsyncConnection) -> Sequence[OpenFailure]:
    """Open failures, those that last longest first."""
    found = await open_failures(connection)
    in_order = select(found).order_by(found.c.first_at, found.c.person_id, found.c.area)
    return await _read(connection, in_order)


async def failures_of(connection: AsyncConnection, person_key: str) -> Sequence[OpenFailure]:
    """Open failures of one person."""
    failures = await open_failures(connection)
    mine = select(failures).where(failures.c.person_key == person_key)
    return await _read(connection, mine.order_by(failures.c.area))


async def open_failures(connection: AsyncConnection) -> Subquery:
    """Every open failure, with the fields of ``OpenFailure``."""
    latest = await unpublished_run(connection) or 0
    parts = " UNION ALL ".join(filled(_OF_AREA, area, run=latest) for area in AREAS)
    names = OpenFailure.__struct_fields__
    columns = [column(name, UtcTime if name.endswith("_at") else None) for name in names]
    return text(parts).columns(*columns).subquery("failures")


async def unpublished_run(connection: AsyncConnection) -> int | None:
    """The latest run, if it is not published and its drafts still count.

    A backfill that was stopped does not count: the next one begins anew, over the same failures.
    """
    counts = or_(
        run.c.kind == RunKind.SYNC,
        run.c.status.in_((RunStatus.PUBLISHED, RunStatus.WITHHELD)),
    )
    found = await connection.execute(
        select(run.c.run_id, run.c.status).where(counts).order_by(run.c.run_id.desc()).limit(1)
    )
    row = found.one_or_none()
    gone = (RunStatus.PUBLISHED, RunStatus.ABANDONED)
    return None if row is None or row.status in gone else row.run_id


async def _read(connection: AsyncConnection, statement: Select[Any]) -> Sequence[OpenFailure]:
    rows = await connection.execute(statement)
    return [OpenFailure(**row) for row in rows.mappings()]
