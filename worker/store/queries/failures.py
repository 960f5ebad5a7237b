"""What could not be read: the open failures, for the ``failures`` commands."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.store.schema.tables import failure, person


class OpenFailure(Value, frozen=True, kw_only=True):
    """One area of one person that cannot be read at present.

    Attributes:
        person_key: the key in the store; None where it is a plain identifier and is shown.
        reason: without any value of the answer.
        attempts: HTTP attempts in the last run.
        runs: runs in a row in which it failed.
    """

    person_key: str | None
    person_id: int
    local_ref: str | None
    area: str
    kind: str
    status: int | None
    reason: str
    attempts: int
    runs: int
    first_at: datetime
    last_at: datetime
    first_run: int
    last_run: int


async def list_failures(
    connection: AsyncConnection,
    *,
    kind: str | None = None,
    areas: Sequence[str] = (),
    limit: int | None = None,
) -> Sequence[OpenFailure]:
    """Open failures, those that last longest first."""
    statement = _select().order_by(failure.c.first_at, failure.c.person_id, failure.c.area)
    if kind is not None:
        statement = statement.where(failure.c.kind == kind)
    if areas:
        statement = statement.where(failure.c.area.in_(areas))
    return await _read(connection, statement.limit(limit))


async def failures_by_key(connection: AsyncConnection, prefix: str) -> Sequence[OpenFailure]:
    """Open failures of the persons whose key begins so."""
    statement = _select().where(person.c.person_key.startswith(prefix, autoescape=True))
    return await _read(connection, statement.order_by(failure.c.person_id, failure.c.area))


async def is_key_known(connection: AsyncConnection, prefix: str) -> bool:
    """Whether any person's key begins so."""
    begins = person.c.person_key.startswith(prefix, autoescape=True)
    found = await connection.execute(select(person.c.person_id).where(begins).limit(1))
    return found.first() is not None


def _select() -> Select[Any]:
    """The fields of ``OpenFailure``."""
    return select(
        failure,
        person.c.person_key,
        person.c.prev_local_ref.label("local_ref"),
    ).join(person, person.c.person_id == failure.c.person_id)


async def _read(connection: AsyncConnection, statement: Select[Any]) -> Sequence[OpenFailure]:
    rows = await connection.execute(statement)
    return [OpenFailure(**row) for row in rows.mappings()]
