"""The persons of the roster, chunk by chunk: whom a backfill reads, and whom a run has seen."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS, area_named
from worker.core.run import RunHandle
from worker.core.value import Value
from worker.store.drafts.bulk import IDS, KEYS
from worker.store.drafts.persons import find_persons
from worker.store.queries.published import last_publication_no
from worker.store.statements import (
    COUNT_UNCONFIRMED,
    COUNT_UNKNOWN_FAILED,
    FIND_CHOICE,
    MARK_NOT_SENT,
    MARK_SEEN,
    of_all,
)
from worker.utc_time import as_utc


class Choice(Value, frozen=True, kw_only=True):
    """The areas that a backfill reads, out of all persons on the roster.

    Attributes:
        stale_before: areas last confirmed before this time, or never.
        failed: areas with an open failure.
        failed_run: the run before, if it is not published: its failures are in drafts.
    """

    stale_before: datetime | None = None
    failed: bool = False
    failed_run: int | None = None

    def has(self, confirmed_at: str | datetime | None, *, has_failed: bool) -> bool:
        """Whether an area is read, by when it was confirmed and whether it failed."""
        is_stale = self.stale_before is not None and (
            confirmed_at is None or as_utc(confirmed_at) < self.stale_before
        )
        return is_stale or (self.failed and has_failed)


async def chosen_of(
    connection: AsyncConnection, person_keys: Sequence[str], *, choice: Choice
) -> Mapping[str, frozenset[str]]:
    """The areas of these persons that a backfill reads."""
    rows = [(key,) for key in person_keys]
    run_id = choice.failed_run or 0
    found = await KEYS.execute(connection, of_all(FIND_CHOICE), rows, run=run_id)
    known = {key: columns for key, *columns in found}
    unknown = (None, False) * len(AREAS)
    chosen = {}
    for key in person_keys:
        columns = known.get(key, unknown)
        facts = zip(AREAS, columns[::2], columns[1::2], strict=True)
        chosen[key] = frozenset(
            area.name for area, at, has_failed in facts if choice.has(at, has_failed=has_failed)
        )
    return chosen


async def mark_seen(
    connection: AsyncConnection, persons: Sequence[int], *, handle: RunHandle
) -> None:
    """Record that this attempt saw persons on the roster whom an earlier attempt has read."""
    rows = [(person_id,) for person_id in persons]
    await IDS.execute(connection, MARK_SEEN, rows, run=handle.run_id, attempt=handle.attempt)


async def mark_not_sent(
    connection: AsyncConnection, person_keys: Sequence[str], *, handle: RunHandle
) -> None:
    """Record that this attempt saw persons under an identifier that is not sent to PTS."""
    known = await find_persons(connection, person_keys, run_id=handle.run_id)
    new = [person.person_id for person in known.values() if person.is_new]
    await mark_seen(connection, new, handle=handle)
    await KEYS.execute(
        connection,
        MARK_NOT_SENT,
        [(key,) for key in dict.fromkeys(person_keys)],
        run=handle.run_id,
        attempt=handle.attempt,
        no=await last_publication_no(connection),
    )


async def count_unconfirmed(connection: AsyncConnection, run_id: int) -> int:
    """Persons with an area that waits for a second read."""
    found = await connection.exec_driver_sql(of_all(COUNT_UNCONFIRMED).format(run=run_id))
    return int(found.scalar_one())


async def count_unknown_failed(
    connection: AsyncConnection, run_id: int, *, areas: Sequence[str]
) -> int:
    """Failures of a run, in these areas, of persons whom no publication knows."""
    statement = of_all(COUNT_UNKNOWN_FAILED, [area_named(name) for name in areas])
    found = await connection.exec_driver_sql(statement.format(run=run_id))
    return int(found.scalar_one())
