"""What could not be read: the failures of the latest run, for the ``failures`` commands.

A run that is not published leaves them in its drafts until the next one begins. Of whom it did not
read, or could read, the last publication's failures stand.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Subquery, func, literal, or_, select, union, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.model import RunKind, RunStatus
from worker.core.value import Value
from worker.store.schema.tables import FAILED, area_column, draft, person, run


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


async def list_failures(
    connection: AsyncConnection,
    *,
    kind: str | None = None,
    areas: Sequence[str] = (),
    limit: int | None = None,
) -> Sequence[OpenFailure]:
    """Open failures, those that last longest first."""
    failures = await open_failures(connection)
    statement = select(failures).order_by(
        failures.c.first_at, failures.c.person_id, failures.c.area
    )
    if kind is not None:
        statement = statement.where(failures.c.kind == kind)
    if areas:
        statement = statement.where(failures.c.area.in_(areas))
    return await _read(connection, statement.limit(limit))


async def failures_of(connection: AsyncConnection, person_key: str) -> Sequence[OpenFailure]:
    """Open failures of one person."""
    failures = await open_failures(connection)
    mine = select(failures).where(failures.c.person_key == person_key)
    return await _read(connection, mine.order_by(failures.c.area))


async def keys_beginning(connection: AsyncConnection, prefix: str) -> Sequence[str]:
    """The keys of persons that begin so, of a publication or a draft."""
    found = union(
        *(
            select(table.c.person_key).where(table.c.person_key.startswith(prefix, autoescape=True))
            for table in (person, draft)
        )
    )
    return (await connection.execute(found)).scalars().all()


async def open_failures(connection: AsyncConnection) -> Subquery:
    """Every open failure, with the fields of ``OpenFailure``."""
    latest = await unpublished_run(connection) or 0
    parts = [of(area, latest) for area in AREAS for of in (_published, _drafted)]
    return union_all(*parts).subquery("failures")


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


def _published(area: ResourceArea, latest: int) -> Select[Any]:
    """What the last publication left, unless the latest run has read the area since."""
    of = {name: person.c[area_column(area, name)] for name in _FIELDS}
    is_read = select(draft.c.person_id).where(
        draft.c.run_id == latest,
        draft.c.person_id == person.c.person_id,
        draft.c[area_column(area, "state")].is_not(None),
    )
    return select(
        person.c.person_id,
        person.c.person_key,
        person.c.local_ref,
        literal(area.name).label("area"),
        *(of[name].label(shown) for name, shown in _FIELDS.items()),
        person.c[area_column(area, "failed_runs")].label("runs"),
        person.c[area_column(area, "failing_since")].label("first_at"),
        person.c[area_column(area, "failed_at")].label("last_at"),
    ).where(of["failure_kind"].is_not(None), person.c.departed_no.is_(None), ~is_read.exists())


def _drafted(area: ResourceArea, latest: int) -> Select[Any]:
    """What the latest run could not read; with the runs before it, of whom a failure stands."""
    since, runs = (person.c[area_column(area, name)] for name in ("failing_since", "failed_runs"))
    read_at = draft.c[area_column(area, "read_at")]
    return (
        select(
            draft.c.person_id,
            draft.c.person_key,
            func.coalesce(draft.c.local_ref, person.c.local_ref).label("local_ref"),
            literal(area.name).label("area"),
            *(draft.c[area_column(area, name)].label(shown) for name, shown in _FIELDS.items()),
            (func.coalesce(runs, 0) + 1).label("runs"),
            func.coalesce(since, read_at).label("first_at"),
            read_at.label("last_at"),
        )
        .outerjoin_from(draft, person, person.c.person_id == draft.c.person_id)
        .where(draft.c.run_id == latest, draft.c[area_column(area, "state")] == FAILED)
    )


_FIELDS = {
    "failure_kind": "kind",
    "failure_status": "status",
    "failure_reason": "reason",
    "failure_attempts": "attempts",
}


async def _read(connection: AsyncConnection, statement: Select[Any]) -> Sequence[OpenFailure]:
    rows = await connection.execute(statement)
    return [OpenFailure(**row) for row in rows.mappings()]
