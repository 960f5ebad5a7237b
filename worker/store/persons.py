"""Queries about persons: the history of one person (``explain``), and open failures.

The history comes from the views, so ``explain`` shows the same rows as a report. Failures come from
the latest run. An unpublished run leaves its failures in its drafts until the next run starts. For
areas that it did not read, the failures of the last publication apply.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Select, Subquery, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS
from worker.core.model import RunKind, RunStatus
from worker.core.value import Value
from worker.store.identity import has_plain_keys
from worker.store.schema.tables import draft, draft_area, person, person_area, run
from worker.views import FRESHNESS, HISTORY, View

_PERSON_COLUMNS: Final = frozenset({"person_key", "local_ref", "cohort"})
"""Columns of the views that identify the person. They are equal in each row."""


async def describe_person(
    connection: AsyncConnection, person_key: str, number: int, *, only_shown: bool = False
) -> dict[str, Any] | None:
    """The stored data of one person: labels and runs, and for each area its freshness and history.

    Args:
        number: the number of a publication. ``is_shown`` marks the restrictions that readers saw
            at that publication. No clock is involved.
        only_shown: omit restrictions that readers did not see.

    Returns:
        None for an unknown key. The columns of freshness are missing if the area was never read,
        or the person has departed.
    """
    labels_and_runs = await _person(connection, person_key)
    if labels_and_runs is None:
        return None
    reads = {row["area"]: row for row in await _rows(connection, FRESHNESS, person_key)}
    areas = []
    for area in AREAS:
        versions = await _rows(connection, HISTORY[area.name], person_key)
        for row in versions:
            row["is_shown"] = _is_shown(row, number)
        restrictions = [row for row in versions if row["is_shown"] or not only_shown]
        restrictions.sort(key=itemgetter("opened_publication", "restriction_id"))
        read = reads.get(area.name, {})
        areas.append({"area": area.name} | read | {"restrictions": restrictions})
    return {**labels_and_runs, "areas": areas}


async def _person(connection: AsyncConnection, person_key: str) -> dict[str, Any] | None:
    """The person's row with the times of its runs, or None."""
    first, departed = run.alias("first"), run.alias("departed")
    rows = await connection.execute(
        select(
            person.c.local_ref,
            person.c.cohort,
            first.c.run_id.label("first_run"),
            first.c.started_at.label("first_run_at"),
            departed.c.published_at.label("departed_at"),
        )
        .join(first, first.c.publication_no == person.c.first_no)
        # Outer, because most persons have not departed.
        .outerjoin(departed, departed.c.publication_no == person.c.departed_no)
        .where(person.c.person_key == person_key)
    )
    row = rows.mappings().one_or_none()
    return None if row is None else dict(row)


async def _rows(connection: AsyncConnection, view: View, person_key: str) -> list[dict[str, Any]]:
    """The person's rows of a view, without the identifying columns."""
    table = view.table()
    columns = (column for column in table.c if column.name not in _PERSON_COLUMNS)
    rows = await connection.execute(select(*columns).where(table.c.person_key == person_key))
    return [dict(row) for row in rows.mappings()]


def _is_shown(version: Mapping[str, Any], number: int) -> bool:
    """Whether readers saw a version at that publication."""
    closed_no = version["closed_publication"]
    return version["opened_publication"] <= number and (closed_no is None or closed_no > number)


class OpenFailure(Value, frozen=True, kw_only=True):
    """One area of one person that cannot be read at present.

    Attributes:
        person_key: the key in the store. None in plain mode, where the key is the identifier.
        reason: the error, without any value from the response.
        attempts: HTTP attempts of the last read.
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
    """Open failures, the oldest first."""
    failures = await open_failures(connection)
    order = failures.c.first_at, failures.c.person_id, failures.c.area
    return await _read(connection, select(failures).order_by(*order))


async def failures_of(connection: AsyncConnection, person_key: str) -> Sequence[OpenFailure]:
    """Open failures of one person."""
    failures = await open_failures(connection)
    of_person = select(failures).where(failures.c.person_key == person_key)
    return await _read(connection, of_person.order_by(failures.c.area))


async def open_failures(connection: AsyncConnection) -> Subquery:
    """Every open failure, with the fields of ``OpenFailure``."""
    # No run has the number 0, so without an unpublished run no drafts are joined.
    latest = await unpublished_run(connection) or 0
    return _published_failures(latest).union_all(_drafted_failures(latest)).subquery("failures")


def _published_failures(latest: int) -> Select[Any]:
    """The failures of the last publication, in areas that the latest run has not read since."""
    row = person_area.c
    is_read_since = and_(
        draft_area.c.run_id == latest,
        draft_area.c.person_id == row.person_id,
        draft_area.c.area == row.area,
    )
    return (
        select(
            person.c.person_key,
            person.c.person_id,
            person.c.local_ref,
            row.area,
            row.failure_kind.label("kind"),
            row.failure_status.label("status"),
            row.failure_reason.label("reason"),
            row.failure_attempts.label("attempts"),
            row.failed_runs.label("runs"),
            row.failing_since.label("first_at"),
            row.failed_at.label("last_at"),
        )
        .join_from(person, person_area, row.person_id == person.c.person_id)
        .outerjoin(draft_area, is_read_since)
        .where(
            row.failure_kind.is_not(None),
            person.c.departed_no.is_(None),
            # An anti-join: no read of the latest run matches.
            draft_area.c.state.is_(None),
        )
    )


def _drafted_failures(latest: int) -> Select[Any]:
    """The failures of the latest run. Each continues the published failures of the same area."""
    read, before = draft_area.c, person_area.c
    is_area_before = and_(before.person_id == read.person_id, before.area == read.area)
    has_draft = and_(draft.c.run_id == read.run_id, draft.c.person_id == read.person_id)
    return (
        select(
            draft.c.person_key,
            draft.c.person_id,
            func.coalesce(draft.c.local_ref, person.c.local_ref),
            read.area,
            read.failure_kind,
            read.failure_status,
            read.failure_reason,
            read.failure_attempts,
            func.coalesce(before.failed_runs, 0) + 1,
            func.coalesce(before.failing_since, read.read_at),
            read.read_at,
        )
        .join_from(draft_area, draft, has_draft)
        # A new person has only drafts, neither a row here nor in `person_area`.
        .outerjoin(person, person.c.person_id == read.person_id)
        .outerjoin(person_area, is_area_before)
        .where(read.run_id == latest, read.failure_kind.is_not(None))
    )


async def unpublished_run(connection: AsyncConnection) -> int | None:
    """The latest run, unless it is published or abandoned. The current failures are in its drafts.

    A stopped backfill is skipped, because the next one restarts with the same failures.
    """
    is_not_stopped_backfill = or_(
        run.c.kind == RunKind.SYNC,
        run.c.status.in_((RunStatus.PUBLISHED, RunStatus.WITHHELD)),
    )
    rows = await connection.execute(
        select(run.c.run_id, run.c.status)
        .where(is_not_stopped_backfill)
        .order_by(run.c.run_id.desc())
        .limit(1)
    )
    row = rows.one_or_none()
    if row is None or row.status in {RunStatus.PUBLISHED, RunStatus.ABANDONED}:
        return None
    run_id: int = row.run_id
    return run_id


async def _read(connection: AsyncConnection, statement: Select[Any]) -> Sequence[OpenFailure]:
    is_plain = await has_plain_keys(connection)
    rows = await connection.execute(statement)
    return [
        OpenFailure(**{**row, "person_key": None if is_plain else row["person_key"]})
        for row in rows.mappings()
    ]
