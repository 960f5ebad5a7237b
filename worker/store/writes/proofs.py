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
from worker.store.schema.tables import FIRST_READ, PROOF_COLUMNS, person_area, run
from worker.store.writes.bulk import InputRows

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
_FIGURES: Final = ("confirmed_at", "pages", "record_count", "digest")
_FIRST_READS: Final = InputRows(
    (
        ("person_id", "integer"),
        ("area", "text"),
        ("first_read_at", "time"),
        ("first_record_count", "integer"),
        ("first_digest", "text"),
    )
)
_WRITE_FIRST_READS: Final = (
    f"UPDATE person_area SET {', '.join(f'{name} = input_rows.{name}' for name in FIRST_READ)} "
    "FROM {input_rows} WHERE person_area.person_id = input_rows.person_id "
    "AND person_area.area = input_rows.area"
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
    await _ROWS.execute(connection, _WRITE, rows, run_id=run_id, attempt_id=attempt_id)
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
        await _FIRST_READS.execute(connection, _WRITE_FIRST_READS, first_reads)


def _published(name: str) -> str:
    """The published value: in ``prev_…`` if this run has already written the row, else in place."""
    return (
        "CASE WHEN person_area.run_id = excluded.run_id "
        f"THEN person_area.prev_{name} ELSE person_area.{name} END"
    )


def _write_sql() -> str:
    published = ", ".join(f"prev_{name} = {_published(name)}" for name in PROOF_COLUMNS)
    figures = ", ".join(
        f"{name} = CASE WHEN excluded.is_complete THEN excluded.{name} ELSE {_published(name)} END"
        for name in _FIGURES
    )
    first = ", ".join(
        f"{name} = CASE WHEN excluded.is_complete THEN NULL ELSE {_published(name)} END"
        for name in FIRST_READ
    )
    return (
        f"INSERT INTO person_area ({_ROWS.names}, run_id, attempt_id) "
        f"SELECT {_ROWS.names}, {{run_id}}, {{attempt_id}} FROM {{input_rows}} WHERE true "
        "ON CONFLICT (person_id, area) DO UPDATE SET "
        f"{published}, {figures}, {first}, is_complete = excluded.is_complete, "
        "run_id = excluded.run_id, attempt_id = excluded.attempt_id"
    )


_WRITE: Final = _write_sql()
