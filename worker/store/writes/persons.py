"""The persons of a batch: their rows, made where there is none, and how the roster labels them."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import Person
from worker.core.value import Value
from worker.store.dialects import StoreDialect
from worker.store.schema.tables import alias_of, person, run
from worker.store.writes.bulk import Given

_PERSONS: Final = Given((("person_key", "text"), ("local_ref", "text"), ("cohort", "text")))

# Odd is a label that is another one, or that no reader has seen yet: see ``_write_labels``.
_KNOWN: Final = (
    "SELECT person.person_key, person.person_id, "
    "EXISTS (SELECT 1 FROM failure WHERE failure.person_id = person.person_id) AS has_failed, "
    "NOT coalesce(person.local_ref = given.local_ref, "
    "person.local_ref IS NULL AND given.local_ref IS NULL) "
    "OR NOT coalesce(person.cohort = given.cohort, "
    "person.cohort IS NULL AND given.cohort IS NULL) "
    "OR (named.publication_no IS NULL AND named.run_id <> {run_id}) "
    "OR (met.publication_no IS NULL AND met.run_id <> {run_id}) AS is_odd "
    # CROSS, so that SQLite goes from what is given to the persons and not the other way.
    "FROM {given} CROSS JOIN person "
    "JOIN run AS met ON met.run_id = person.first_run "
    "JOIN run AS named ON named.run_id = person.local_ref_run "
    "WHERE person.tenant_id = {tenant_id} AND person.person_key = given.person_key"
)
_ADD: Final = (
    "INSERT INTO person (tenant_id, person_key, first_run, local_ref, cohort, local_ref_run) "
    "SELECT {tenant_id}, person_key, {run_id}, local_ref, cohort, "
    "{run_id} FROM {given} RETURNING person_key, person_id"
)


class PersonIds(Value, frozen=True, kw_only=True):
    """The rows of a batch's persons.

    Attributes:
        ids: the row of each, by key.
        new: rows that were made just now.
        failed: rows of whom something could not be read the last time.
    """

    ids: Mapping[str, int]
    new: frozenset[int] = frozenset()
    failed: frozenset[int] = msgspec.field(default_factory=frozenset)


async def resolve_persons(
    connection: AsyncConnection,
    dialect: StoreDialect,
    persons: Sequence[Person],
    *,
    tenant_id: int,
    run_id: int,
) -> PersonIds:
    """Find everybody's row, or make it; keep local references and cohorts up to date."""
    rows = [(one.person_key, one.local_ref, one.cohort) for one in persons]
    ours = {"tenant_id": tenant_id, "run_id": run_id}
    ids: dict[str, int] = {}
    failed, odd = set(), set()
    for key, person_id, has_failed, is_outdated in await _PERSONS.execute(
        connection, _KNOWN, rows, **ours
    ):
        ids[key] = person_id
        if has_failed:
            failed.add(person_id)
        if is_outdated:
            odd.add(key)
    unknown = [row for row in rows if row[0] not in ids] if len(ids) < len(rows) else []
    new = dict(await _PERSONS.execute(connection, _ADD, unknown, **ours))
    if odd:
        some = [one for one in persons if one.person_key in odd]
        await _write_labels(connection, dialect, some, tenant_id=tenant_id, run_id=run_id)
    return PersonIds(ids=ids | new, new=frozenset(new.values()), failed=frozenset(failed))


async def _write_labels(
    connection: AsyncConnection,
    dialect: StoreDialect,
    persons: Sequence[Person],
    *,
    tenant_id: int,
    run_id: int,
) -> None:
    first, ref = alias_of(run, "first"), alias_of(run, "ref")
    found = await connection.execute(
        select(
            person.c.person_key,
            person.c.person_id,
            person.c.local_ref,
            person.c.local_ref_run,
            person.c.prev_local_ref,
            person.c.cohort,
            person.c.prev_cohort,
            person.c.first_run,
            first.c.publication_no.label("first_no"),
            ref.c.publication_no.label("ref_no"),
        )
        .join(first, first.c.run_id == person.c.first_run)
        .join(ref, ref.c.run_id == person.c.local_ref_run)
        .where(
            person.c.tenant_id == tenant_id,
            dialect.member(person.c.person_key),
        ),
        dialect.members([one.person_key for one in persons]),
    )
    wanted = {one.person_key: one for one in persons}
    rows = []
    for row in found:
        # What a run left that was never published, no reader has seen: the labels that readers see
        # stand behind it.
        is_ours = row.local_ref_run == run_id
        is_unseen = not is_ours and row.ref_no is None
        is_hidden = is_ours or is_unseen
        is_adopted = row.first_run != run_id and row.first_no is None
        rows.append(
            {
                "id": row.person_id,
                "new_ref": wanted[row.person_key].local_ref,
                "old_ref": row.prev_local_ref if is_hidden else row.local_ref,
                "new_cohort": wanted[row.person_key].cohort,
                "old_cohort": row.prev_cohort if is_hidden else row.cohort,
                "first": run_id if is_adopted else row.first_run,
            }
        )
    await connection.execute(
        update(person)
        .where(person.c.person_id == bindparam("id"))
        .values(
            local_ref=bindparam("new_ref"),
            prev_local_ref=bindparam("old_ref"),
            cohort=bindparam("new_cohort"),
            prev_cohort=bindparam("old_cohort"),
            first_run=bindparam("first"),
            local_ref_run=run_id,
        ),
        rows,
    )
