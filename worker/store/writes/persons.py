"""Finds or adds the persons of a batch, and updates their labels from the roster."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import Person
from worker.core.value import Value
from worker.store.dialects import member, members
from worker.store.schema.tables import alias_of, person, run
from worker.store.writes.bulk import InputRows
from worker.store.writes.statements import ADD_PERSONS, FIND_PERSONS

_PERSONS: Final = InputRows((("person_key", "text"), ("local_ref", "text"), ("cohort", "text")))


class PersonIds(Value, frozen=True, kw_only=True):
    """The row ids of a batch's persons.

    Attributes:
        new: ids of rows that this batch added.
        failed: ids of persons with an open failure.
    """

    ids: Mapping[str, int]
    new: frozenset[int] = frozenset()
    failed: frozenset[int] = msgspec.field(default_factory=frozenset)


async def resolve_persons(
    connection: AsyncConnection,
    persons: Sequence[Person],
    *,
    run_id: int,
    keeps_labels: bool = False,
) -> PersonIds:
    """Find or add the row of every person; keep local references and cohorts up to date.

    Args:
        keeps_labels: a person listed without any label keeps the published one; for backfills,
            whose lists are often bare identifiers.
    """
    rows = [(listed.person_key, listed.local_ref, listed.cohort) for listed in persons]
    ids: dict[str, int] = {}
    failed, outdated = set(), set()
    for key, person_id, has_failed, is_outdated in await _PERSONS.execute(
        connection, FIND_PERSONS, rows, run_id=run_id
    ):
        ids[key] = person_id
        if has_failed:
            failed.add(person_id)
        if is_outdated:
            outdated.add(key)
    unknown = [row for row in rows if row[0] not in ids] if len(ids) < len(rows) else []
    new = dict(await _PERSONS.execute(connection, ADD_PERSONS, unknown, run_id=run_id))
    if outdated:
        changed = [listed for listed in persons if listed.person_key in outdated]
        await _write_labels(connection, changed, run_id=run_id, keeps_labels=keeps_labels)
    return PersonIds(ids=ids | new, new=frozenset(new.values()), failed=frozenset(failed))


async def _write_labels(
    connection: AsyncConnection,
    persons: Sequence[Person],
    *,
    run_id: int,
    keeps_labels: bool,
) -> None:
    first = alias_of(run, "first")
    found = await connection.execute(
        select(
            person.c.person_key,
            person.c.person_id,
            person.c.first_run,
            person.c.prev_local_ref,
            person.c.prev_cohort,
            first.c.publication_no.label("first_no"),
        )
        .join(first, first.c.run_id == person.c.first_run)
        .where(
            member(person.c.person_key),
        ),
        members([listed.person_key for listed in persons]),
    )
    wanted = {listed.person_key: listed for listed in persons}
    rows = []
    for row in found:
        labels = wanted[row.person_key].local_ref, wanted[row.person_key].cohort
        is_published = row.first_no is not None
        if keeps_labels and labels == (None, None) and is_published:
            labels = row.prev_local_ref, row.prev_cohort
        is_adopted = row.first_run != run_id and not is_published
        rows.append(
            {
                "id": row.person_id,
                "new_ref": labels[0],
                "new_cohort": labels[1],
                "first": run_id if is_adopted else row.first_run,
            }
        )
    await connection.execute(
        update(person)
        .where(person.c.person_id == bindparam("id"))
        .values(
            local_ref=bindparam("new_ref"),
            cohort=bindparam("new_cohort"),
            first_run=bindparam("first"),
            local_ref_run=run_id,
        ),
        rows,
    )
