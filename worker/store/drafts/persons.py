"""What is known of persons, published or of the run at work; who is new gets an id."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.confirmation import Unconfirmed
from worker.core.model import FirstRead
from worker.core.value import Value
from worker.store.drafts.bulk import KEYS
from worker.store.schema.tables import COMPLETE, FAILED, UNCONFIRMED, area_column
from worker.store.statements import FIND_PERSONS, TAKE_IDS, filled
from worker.views import as_utc


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
    rows = await KEYS.execute(connection, filled(FIND_PERSONS, run=run_id), keys)
    return {row.person_key: _known(row) for row in rows}


async def identify(
    connection: AsyncConnection, person_keys: Sequence[str], *, run_id: int
) -> Mapping[str, Known]:
    """The persons by their key; those whom nobody knows get an id."""
    found = await find_persons(connection, person_keys, run_id=run_id)
    unknown = [key for key in dict.fromkeys(person_keys) if key not in found]
    if unknown:
        taken = await connection.exec_driver_sql(filled(TAKE_IDS, count=len(unknown)))
        first = taken.scalar_one() - len(unknown) + 1
        for person_id, key in enumerate(unknown, first):
            found[key] = Known(person_id=person_id, is_new=True)
    return found


def _known(row: Any) -> Known:
    of = row._mapping  # noqa: SLF001 - SQLAlchemy's public name
    states = {area.name: of[area_column(area, "state")] for area in AREAS}
    return Known(
        person_id=row.person_id,
        is_new=bool(row.is_new),
        local_ref=row.local_ref,
        cohort=row.cohort,
        attempt=row.attempt,
        digests={area.name: of[area_column(area, "published")] for area in AREAS},
        states={name: state for name, state in states.items() if state is not None},
        unconfirmed={
            area.name: Unconfirmed(
                read=FirstRead(
                    read_at=as_utc(of[area_column(area, "read_at")]),
                    record_count=of[area_column(area, "record_count")],
                    digest=bytes.fromhex(of[area_column(area, "digest")]),
                ),
                ids=bytes.fromhex(of[area_column(area, "first_digest")]),
            )
            for area in AREAS
            if states[area.name] == UNCONFIRMED
        },
    )
