"""Finds the persons of a batch, published or not, and gives ids to those whom nobody knows."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.model import Person
from worker.core.value import Value
from worker.store.drafts.bulk import KEYS
from worker.store.statements import FIND_NEW_PERSONS, FIND_PERSONS, TAKE_IDS, of_all


class Found(Value, frozen=True, kw_only=True):
    """A person of a batch.

    Attributes:
        is_new: no publication knows them.
        has_draft: this run has read something of them before.
        local_ref, cohort: as published.
        digests: by area, the digest of what is open, if it is known.
    """

    person_id: int
    is_new: bool = False
    has_draft: bool = False
    local_ref: str | None = None
    cohort: str | None = None
    digests: Mapping[str, str | None] = {}


async def find_persons(
    connection: AsyncConnection, persons: Sequence[Person], *, run_id: int
) -> Mapping[str, Found]:
    """The persons by their key."""
    keys = list(dict.fromkeys(person.person_key for person in persons))
    found: dict[str, Found] = {}
    rows = await KEYS.execute(
        connection, of_all(FIND_PERSONS), [(key,) for key in keys], run=run_id
    )
    for key, person_id, local_ref, cohort, draft_run, *digests in rows:
        found[key] = Found(
            person_id=person_id,
            has_draft=draft_run is not None,
            local_ref=local_ref,
            cohort=cohort,
            digests={area.name: digest for area, digest in zip(AREAS, digests, strict=True)},
        )
    if len(found) < len(keys):
        found |= await _new_persons(connection, [key for key in keys if key not in found], run_id)
    return found


async def _new_persons(
    connection: AsyncConnection, keys: Sequence[str], run_id: int
) -> Mapping[str, Found]:
    rows = await KEYS.execute(connection, FIND_NEW_PERSONS, [(key,) for key in keys], run=run_id)
    found = {
        key: Found(person_id=person_id, is_new=True, has_draft=True) for key, person_id in rows
    }
    unknown = [key for key in keys if key not in found]
    if unknown:
        taken = await connection.exec_driver_sql(TAKE_IDS.format(count=len(unknown)))
        first = taken.scalar_one() - len(unknown) + 1
        for person_id, key in enumerate(unknown, first):
            found[key] = Found(person_id=person_id, is_new=True)
    return found
