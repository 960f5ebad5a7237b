"""Consistent snapshots of the reporting views."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


class Read(Protocol):
    """Runs a function in a read transaction, such as ``worker.store.database.Database.read``.

    After a lost connection it calls the function again.
    """

    async def __call__(self, work: Callable[[AsyncConnection], Awaitable[T]], /) -> T:
        """The result of ``work``."""
        ...


async def begin_snapshot(connection: AsyncConnection) -> None:
    """Make everything that this transaction reads belong to the same publication.

    Call it before anything is read. On SQLite (WAL) a read transaction is a snapshot. PostgreSQL
    gives each statement a new snapshot by default.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
