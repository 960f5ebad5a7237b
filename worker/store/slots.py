"""The proof rows of a batch, written by one statement.

The statement itself moves the published proof behind the new one, so nothing needs to be read
first, and a failed read keeps the figures of the last whole one. One statement also means one call
into the database however many rows there are: row by row, the driver's thread would fight the
event loop for the interpreter at each of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    Integer,
    Text,
    TextClause,
    bindparam,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import AreaRead, CompleteArea, PersonRead
from worker.store.dialects import StoreDialect
from worker.store.tables import SLOT, iso_utc

_COLUMNS: Final[Mapping[str, Any]] = {
    "person_id": BigInteger,
    "area": Text,
    "is_complete": Boolean,
    "confirmed_at": DateTime(timezone=True),
    "pages": Integer,
    "record_count": Integer,
    "digest": Text,
}
_FIGURES: Final = ("confirmed_at", "pages", "record_count", "digest")


async def write_slots(
    connection: AsyncConnection,
    dialect: StoreDialect,
    batch: Sequence[PersonRead],
    ids: Mapping[str, int],
    *,
    run_id: int,
    attempt_id: int,
) -> None:
    """Write the proof, or the failure, of every person-area of the batch."""
    rows = [
        _row(ids[one.person.person_key], area, is_text=dialect.name == "sqlite")
        for one in batch
        for area in one.areas
    ]
    if not rows:
        return
    run = {"run_id": run_id, "attempt_id": attempt_id}
    if dialect.name == "sqlite":
        await connection.execute(_SQLITE, {"rows": orjson.dumps(rows).decode(), **run})
    else:
        columns = zip(*rows, strict=True)
        arrays = {name: list(column) for name, column in zip(_COLUMNS, columns, strict=True)}
        await connection.execute(_POSTGRESQL, {**arrays, **run})


def _row(person_id: int, area: AreaRead, *, is_text: bool) -> tuple[Any, ...]:
    if not isinstance(area, CompleteArea):
        return (person_id, area.area, False, None, None, None, None)
    proof = area.proof
    return (
        person_id,
        area.area,
        True,
        iso_utc(proof.read_at) if is_text else proof.read_at,
        proof.pages,
        proof.record_count,
        proof.digest.hex(),
    )


def _published(name: str) -> str:
    """What the last published run saw: behind, if this run has written before; else in front."""
    return (
        "CASE WHEN person_area.run_id = excluded.run_id "
        f"THEN person_area.prev_{name} ELSE person_area.{name} END"
    )


def _statement(source: str, values: str) -> str:
    behind = ", ".join(f"prev_{name} = {_published(name)}" for name in SLOT)
    figures = ", ".join(
        f"{name} = CASE WHEN excluded.is_complete THEN excluded.{name} ELSE {_published(name)} END"
        for name in _FIGURES
    )
    return (
        f"INSERT INTO person_area ({', '.join(_COLUMNS)}, run_id, attempt_id) "
        f"SELECT {values}, CAST(:run_id AS BIGINT), CAST(:attempt_id AS BIGINT) "
        f"FROM {source} WHERE true "
        "ON CONFLICT (person_id, area) DO UPDATE SET "
        f"{behind}, {figures}, is_complete = excluded.is_complete, "
        "run_id = excluded.run_id, attempt_id = excluded.attempt_id"
    )


def _postgresql() -> TextClause:
    names = ", ".join(f":{name}" for name in _COLUMNS)
    statement = text(_statement(f"unnest({names}) AS given({', '.join(_COLUMNS)})", "given.*"))
    return statement.bindparams(
        *(bindparam(name, type_=ARRAY(kind)) for name, kind in _COLUMNS.items())
    )


_SQLITE: Final = text(
    _statement(
        "json_each(:rows)",
        ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(_COLUMNS))),
    )
)
_POSTGRESQL: Final = _postgresql()
