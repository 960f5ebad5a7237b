"""Writes the drafts of a run: persons, reads of areas, changes and undeclared fields."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import ResourceArea
from worker.core.model import CompleteArea, PersonRead
from worker.core.record import LEDGER_DRIFT_MAX
from worker.core.run import RunHandle
from worker.errors import FailureKind
from worker.store.dialects import (
    SQLITE,
    filled_columns,
    insert_rows,
    is_any_of,
    row_parameters,
    upsert,
)
from worker.store.schema.columns import FAILURE
from worker.store.schema.tables import (
    CHANGES,
    FAILED,
    UNCONFIRMED,
    draft,
    draft_area,
    drift,
    person,
    store_identity,
)
from worker.views import UtcTime


async def take_person_ids(connection: AsyncConnection, count: int) -> range:
    """Reserve ids for new persons."""
    last_id = store_identity.c.last_person_id
    taken = sa.update(store_identity).values(last_person_id=last_id + count).returning(last_id)
    last = (await connection.execute(taken)).scalar_one()
    # The update locks the only row, so two batches never get the same ids.
    return range(last - count + 1, last + 1)


async def write_drafts(
    connection: AsyncConnection,
    handle: RunHandle,
    rows: Sequence[Mapping[str, Any]],
    *,
    pass_no: int,
) -> None:
    """Write the drafts of persons.

    An existing draft keeps its labels: if two roster lines name one person, the first line wins.
    """
    if rows:
        dialect = connection.dialect.name
        names = filled_columns(rows, draft)
        parameters = row_parameters(dialect, draft, rows, names)
        fixed = {"in_run": handle.run_id, "in_pass": pass_no}
        await connection.execute(_add_drafts(dialect, names), {**parameters, **fixed})


# Building a statement takes SQLAlchemy longer than writing a batch with it.
@cache
def _add_drafts(dialect: str, names: tuple[str, ...]) -> Any:
    added = insert_rows(
        dialect,
        draft,
        names,
        run_id=sa.bindparam("in_run", type_=sa.BigInteger),
        pass_no=sa.bindparam("in_pass", type_=sa.Integer),
    )
    return added.on_conflict_do_update(
        index_elements=[draft.c.run_id, draft.c.person_id],
        set_={"pass_no": added.excluded.pass_no},
    )


async def write_draft_areas(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write reads of areas, replacing earlier reads of the same areas in the run.

    If a second read failed, the first read stays, so that a later pass can confirm it. If two reads
    contradict each other, the result is final.
    """
    if rows:
        dialect = connection.dialect.name
        names = filled_columns(rows, draft_area)
        parameters = row_parameters(dialect, draft_area, rows, names)
        await connection.execute(_replace_areas(dialect, names), parameters)


@cache
def _replace_areas(dialect: str, names: tuple[str, ...]) -> Any:
    added = insert_rows(dialect, draft_area, names)
    key, new = draft_area.primary_key.columns, added.excluded
    # A failed second read neither confirms nor contradicts the first. ``UNSTABLE`` contradicts it.
    keeps_first = sa.and_(
        draft_area.c.state == UNCONFIRMED,
        new.state == FAILED,
        new.failure_kind != FailureKind.UNSTABLE,
    )
    replaced = {}
    for column in draft_area.c:
        # The failure of the second read is stored even where its first read stays.
        if column.name in {*FAILURE, "retry_at"}:
            replaced[column.name] = new[column.name]
        elif column.name not in key:
            replaced[column.name] = sa.case((keeps_first, column), else_=new[column.name])
    return added.on_conflict_do_update(index_elements=[*key], set_=replaced)


async def replace_changes(
    connection: AsyncConnection,
    handle: RunHandle,
    area: ResourceArea,
    person_ids: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the changes of an area of these persons, replacing those of an earlier read."""
    changes = CHANGES[area.name]
    dialect = connection.dialect.name
    # A second read may find fewer differences, so an upsert would leave rows of the first one.
    if person_ids:
        parameters = {"in_run": handle.run_id, "person_ids": person_ids}
        await connection.execute(_delete_changes(dialect, area.name), parameters)
    if rows and dialect == SQLITE:
        # The content hash is binary, and JSON has no type for bytes.
        await connection.execute(sa.insert(changes), rows)
    elif rows:
        names = filled_columns(rows, changes)
        added = insert_rows(dialect, changes, names)
        await connection.execute(added, row_parameters(dialect, changes, rows, names))


@cache
def _delete_changes(dialect: str, area: str) -> sa.Delete:
    changes = CHANGES[area]
    is_of_persons = is_any_of(dialect, changes.c.person_id, "person_ids")
    return sa.delete(changes).where(changes.c.run_id == sa.bindparam("in_run"), is_of_persons)


async def mark_seen_and_relabel(
    connection: AsyncConnection, handle: RunHandle, persons: Sequence[Mapping[str, Any]]
) -> None:
    """Mark drafts as seen on the roster by this attempt, and give them today's labels.

    Args:
        persons: one mapping per person, with ``person_id``, ``local_ref`` and ``cohort``.
    """
    seen = (
        sa.update(draft)
        .where(draft.c.run_id == handle.run_id, draft.c.person_id == sa.bindparam("seen_id"))
        .values(
            pass_no=handle.pass_no(1),
            local_ref=sa.bindparam("seen_ref"),
            cohort=sa.bindparam("seen_cohort"),
        )
    )
    rows = [
        {"seen_id": row["person_id"], "seen_ref": row["local_ref"], "seen_cohort": row["cohort"]}
        for row in persons
    ]
    await _execute_many(connection, seen, rows)


async def mark_seen(
    connection: AsyncConnection, handle: RunHandle, person_ids: Sequence[int]
) -> None:
    """Mark drafts as seen on the roster by this attempt. They keep the labels of their read."""
    is_of_persons = is_any_of(connection.dialect.name, draft.c.person_id, "person_ids")
    seen = sa.update(draft).where(draft.c.run_id == handle.run_id, is_of_persons)
    await connection.execute(seen.values(pass_no=handle.pass_no(1)), {"person_ids": person_ids})


async def add_unread(
    connection: AsyncConnection, handle: RunHandle, person_ids: Sequence[int]
) -> None:
    """Add drafts without a read for persons on the roster with an identifier that is not sent."""
    names = ["person_id", "person_key", "local_ref", "cohort"]
    fixed = {"run_id": handle.run_id, "is_new": False, "pass_no": handle.pass_no(1)}
    is_requested = is_any_of(connection.dialect.name, person.c.person_id, "person_ids")
    unread = sa.select(*(person.c[name] for name in names), *map(sa.literal, fixed.values()))
    added = upsert(connection.dialect.name, draft).from_select(
        [*names, *fixed], unread.where(is_requested)
    )
    # If an earlier attempt has read the person, the draft of that read stays.
    await connection.execute(added.on_conflict_do_nothing(), {"person_ids": person_ids})


async def count_drift(
    connection: AsyncConnection, reads: Sequence[PersonRead], *, run_id: int, now: datetime
) -> None:
    """Add up the number of records with each undeclared field.

    A field's count belongs to the last run that saw it. If a commit succeeded but its
    acknowledgement was lost, the count may be one batch too high. After ``LEDGER_DRIFT_MAX`` fields
    in an area, no further field is added.
    """
    records = Counter[tuple[str, str]]()
    for read in reads:
        for area in read.areas:
            if isinstance(area, CompleteArea) and area.drift:
                records.update({(area.area, field): n for field, n in area.drift.items()})
    rows = [
        {"in_area": area, "in_field": field, "counted": count, "in_run": run_id, "at": now}
        for (area, field), count in records.most_common(LEDGER_DRIFT_MAX)
    ]
    await _execute_many(connection, _count_field(connection.dialect.name), rows)


@cache
def _count_field(dialect: str) -> Any:
    area, field = sa.bindparam("in_area", type_=sa.Text), sa.bindparam("in_field", type_=sa.Text)
    count, in_run = (
        sa.bindparam("counted", type_=sa.BigInteger),
        sa.bindparam("in_run", type_=sa.BigInteger),
    )
    stored = drift.alias("stored").c
    fields = sa.select(sa.func.count()).where(stored.area == area).scalar_subquery()
    is_stored = sa.exists().where(stored.area == area, stored.field == field)
    # A broken or hostile answer can have any number of field names, so the table is bounded.
    row = sa.select(area, field, count, in_run, in_run, sa.bindparam("at", type_=UtcTime)).where(
        sa.or_(fields < LEDGER_DRIFT_MAX, is_stored)
    )
    names = ["area", "field", "records", "run_id", "first_run", "first_seen_at"]
    added = upsert(dialect, drift).from_select(names, row)
    new = added.excluded
    # Counts add up within a run. The first batch of a new run starts at zero.
    before = sa.case((drift.c.run_id == new.run_id, drift.c.records), else_=0)
    return added.on_conflict_do_update(
        index_elements=[drift.c.area, drift.c.field],
        set_={"run_id": new.run_id, "records": new.records + before},
    )


async def _execute_many(
    connection: AsyncConnection, statement: Any, rows: Sequence[Mapping[str, Any]]
) -> None:
    if rows:
        await connection.execute(statement, rows)
