"""Queries about persons: the story of one person (``explain``), and open failures.

The story comes from the views. Failures come from the latest run. An unpublished run leaves its
failures in its drafts until the next run starts. For areas that it did not read, the failures of
the last publication apply.
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
from worker.store.identity import stored_identity
from worker.store.schema.tables import FAILED, draft, draft_area, person, person_area, run
from worker.views import FRESHNESS, HISTORY, View

_OF_THE_PERSON: Final = frozenset({"person_key", "local_ref", "cohort"})
"""Columns of the views that identify the person. They are equal in each row."""


async def person_story(
    connection: AsyncConnection, person_key: str, number: int, *, is_past: bool = False
) -> dict[str, Any] | None:
    """The person's row, and of each area that of the freshness and those of the history.

    The store decides which publication counts. No clock is involved.

    Args:
        number: the publication that counts. A restriction is shown if its readers saw it.
        is_past: omit columns and rows that its readers did not see.

    Returns:
        None if the store does not have the key. An area that was never read, or of a person who
        departed, has no column of the freshness.
    """
    found = await _person(connection, person_key)
    if found is None:
        return None
    reads = {row["area"]: row for row in await _rows(connection, FRESHNESS, person_key)}
    areas = []
    for area in AREAS:
        versions = await _rows(connection, HISTORY[area.name], person_key)
        for row in versions:
            row["is_shown"] = _is_shown(row, number)
        shown = [row for row in versions if row["is_shown"] or not is_past]
        shown.sort(key=itemgetter("opened_publication", "restriction_id"))
        areas.append({"area": area.name} | reads.get(area.name, {}) | {"restrictions": shown})
    return {**found, "areas": areas}


async def _person(connection: AsyncConnection, person_key: str) -> dict[str, Any] | None:
    """The person's row with the times of its runs, or None."""
    first, departed = run.alias("first"), run.alias("departed")
    found = await connection.execute(
        select(
            person.c.local_ref,
            person.c.cohort,
            first.c.run_id.label("first_run"),
            first.c.started_at.label("first_run_at"),
            departed.c.published_at.label("departed_at"),
        )
        .join(first, first.c.publication_no == person.c.first_no)
        .outerjoin(departed, departed.c.publication_no == person.c.departed_no)
        .where(person.c.person_key == person_key)
    )
    row = found.mappings().one_or_none()
    return None if row is None else dict(row)


async def _rows(connection: AsyncConnection, view: View, person_key: str) -> list[dict[str, Any]]:
    """The person's rows of a view, without the identifying columns."""
    table = view.table()
    columns = (column for column in table.c if column.name not in _OF_THE_PERSON)
    found = await connection.execute(select(*columns).where(table.c.person_key == person_key))
    return [dict(row) for row in found.mappings()]


def _is_shown(version: Mapping[str, Any], number: int) -> bool:
    """Whether readers saw a version at that publication."""
    closed_no = version["closed_publication"]
    return version["opened_publication"] <= number and (closed_no is None or closed_no > number)


class OpenFailure(Value, frozen=True, kw_only=True):
    """One area of one person that cannot be read at present.

    Attributes:
        person_key: the key in the store; None where that is the identifier.
        reason: without any value of the answer.
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
            draft_area.c.state.is_(None),
        )
    )


def _drafted_failures(latest: int) -> Select[Any]:
    """The failures of the latest run, counted on from those of the last publication."""
    read, before = draft_area.c, person_area.c
    is_same = and_(before.person_id == read.person_id, before.area == read.area)
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
        .outerjoin(person, person.c.person_id == read.person_id)
        .outerjoin(person_area, is_same)
        .where(read.run_id == latest, read.state == FAILED)
    )


async def unpublished_run(connection: AsyncConnection) -> int | None:
    """The latest run, if it is not published and its drafts still count.

    A stopped backfill does not count, because the next one restarts with the same failures.
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
    is_plain = (await stored_identity(connection)).identity == "plain"
    rows = await connection.execute(statement)
    return [
        OpenFailure(**{**row, "person_key": None if is_plain else row["person_key"]})
        for row in rows.mappings()
    ]
