"""What is known of persons, published or of the run at work; who is new gets an id."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.confirmation import Unconfirmed
from worker.core.model import FirstRead
from worker.core.value import Value
from worker.store.drafts.bulk import KEYS
from worker.store.schema.tables import COMPLETE, FAILED, UNCONFIRMED
from worker.store.statements import FIND_PERSONS, TAKE_IDS, of_all
from worker.utc_time import as_utc

_FIELDS: Final = 6
"""Of each area in ``FIND_PERSONS``."""


class Known(Value, frozen=True, kw_only=True):
    """A person, as published and as the run has read them.

    Attributes:
        is_new: no publication knows them.
        local_ref, cohort: as published.
        attempt: the last attempt at the run that saw them on the roster; None: it has no draft.
        digests: by area, the digest of what is open, if it is known.
        states: by area, what the run has read.
        unconfirmed: the first reads that wait for their second.
    """

    person_id: int
    is_new: bool = False
    local_ref: str | None = None
    cohort: str | None = None
    attempt: int | None = None
    digests: Mapping[str, str | None] = {}
    states: Mapping[str, str] = {}
    unconfirmed: Mapping[str, Unconfirmed] = {}

    def settled(self, attempt: int) -> frozenset[str]:
        """The areas that need no first read by this attempt."""
        is_own = self.attempt == attempt
        return frozenset(
            area
            for area, state in self.states.items()
            if state in {COMPLETE, UNCONFIRMED} or (state == FAILED and is_own)
        )


async def find_persons(
    connection: AsyncConnection, person_keys: Sequence[str], *, run_id: int
) -> dict[str, Known]:
    """Those of them whom a publication or this run knows, by their key."""
    keys = [(key,) for key in dict.fromkeys(person_keys)]
    rows = await KEYS.execute(connection, of_all(FIND_PERSONS), keys, run=run_id)
    return {key: _known(*columns) for key, *columns in rows}


async def identify(
    connection: AsyncConnection, person_keys: Sequence[str], *, run_id: int
) -> Mapping[str, Known]:
    """The persons by their key; those whom nobody knows get an id."""
    found = await find_persons(connection, person_keys, run_id=run_id)
    unknown = [key for key in dict.fromkeys(person_keys) if key not in found]
    if unknown:
        taken = await connection.exec_driver_sql(TAKE_IDS.format(count=len(unknown)))
        first = taken.scalar_one() - len(unknown) + 1
        for person_id, key in enumerate(unknown, first):
            found[key] = Known(person_id=person_id, is_new=True)
    return found


def _known(
    person_id: int,
    is_new: bool,  # noqa: FBT001 - a column
    local_ref: str | None,
    cohort: str | None,
    attempt: int | None,
    *columns: Any,
) -> Known:
    digests: dict[str, str | None] = {}
    states: dict[str, str] = {}
    unconfirmed: dict[str, Unconfirmed] = {}
    for place, area in enumerate(AREAS):
        of_area = columns[place * _FIELDS : (place + 1) * _FIELDS]
        digests[area.name], state, read_at, count, digest, ids = of_area
        if state is not None:
            states[area.name] = state
        if state == UNCONFIRMED:
            first = FirstRead(
                read_at=as_utc(read_at), record_count=count, digest=bytes.fromhex(digest)
            )
            unconfirmed[area.name] = Unconfirmed(read=first, ids=bytes.fromhex(ids))
    return Known(
        person_id=person_id,
        is_new=bool(is_new),
        local_ref=local_ref,
        cohort=cohort,
        attempt=attempt,
        digests=digests,
        states=states,
        unconfirmed=unconfirmed,
    )
