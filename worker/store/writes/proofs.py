"""Reads and writes the completeness proofs of a batch.

The statement that writes a proof also moves the published one to the ``prev_`` columns, so nothing
needs to be read first. A failed read keeps the figures of the last complete one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import AreaRead, CompleteArea, PersonRead
from worker.store.dialects import member, members
from worker.store.schema.tables import person_area, run
from worker.store.writes.bulk import InputRows
from worker.store.writes.statements import WRITE_FIRST_READS, WRITE_PROOFS

_ROWS: Final = InputRows(
    (
        ("person_id", "integer"),
        ("area", "text"),
        ("is_complete", "boolean"),
        ("confirmed_at", "time"),
        ("pages", "integer"),
        ("record_count", "integer"),
        ("digest", "text"),
    )
)
_FIRST_READS: Final = InputRows(
    (
        ("person_id", "integer"),
        ("area", "text"),
        ("first_read_at", "time"),
        ("first_record_count", "integer"),
        ("first_digest", "text"),
    )
)


def _row(person_id: int, area: AreaRead) -> tuple[Any, ...]:
    if not isinstance(area, CompleteArea):
        return (person_id, area.area, False, None, None, None, None)
    proof = area.proof
    return (
        person_id,
        area.area,
        True,
        proof.read_at,
        proof.pages,
        proof.record_count,
        proof.digest.hex(),
    )


async def published_digests(
    connection: AsyncConnection, persons: Sequence[int]
) -> Mapping[tuple[int, str], str]:
    """The digest of the open rows of these persons, by person and area, where it is known.

    It is the digest of their last complete read, if a published run made it. Code that closes rows
    without a proof of the same person clears the digest.
    """
    found = await connection.execute(
        select(person_area.c.person_id, person_area.c.area, person_area.c.digest)
        .join(run, run.c.run_id == person_area.c.run_id)
        .where(
            member(person_area.c.person_id),
            person_area.c.is_complete,
            run.c.publication_no.is_not(None),
        ),
        members(persons),
    )
    return {(person_id, area): digest for person_id, area, digest in found}


async def write_proofs(
    connection: AsyncConnection,
    batch: Sequence[PersonRead],
    ids: Mapping[str, int],
    *,
    run_id: int,
    attempt_id: int,
) -> None:
    """Write a proof row for every area of every person, also for failed reads."""
    rows = [_row(ids[read.person.person_key], area) for read in batch for area in read.areas]
    await _ROWS.execute(connection, WRITE_PROOFS, rows, run_id=run_id, attempt_id=attempt_id)
    first_reads = [
        (
            ids[read.person.person_key],
            area.area,
            first.read_at,
            first.record_count,
            first.digest.hex(),
        )
        for read in batch
        for area in read.areas
        if isinstance(area, CompleteArea) and (first := area.proof.first_read) is not None
    ]
    if first_reads:
        await _FIRST_READS.execute(connection, WRITE_FIRST_READS, first_reads)
