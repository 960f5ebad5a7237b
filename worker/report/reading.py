"""One consistent look at the reporting views."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


class Read(Protocol):
    """Runs a function in a read transaction; ``worker.store.database.Database.read`` is one.

    It may call the function again after a lost connection, so that must bear to run twice.
    """

    async def __call__(self, work: Callable[[AsyncConnection], Awaitable[T]], /) -> T:
        """What ``work`` returns."""
        ...


async def begin_snapshot(connection: AsyncConnection) -> None:
    """Make all that this transaction reads belong to the same publication.

    To be called before anything is read. On SQLite a read transaction is a snapshot as it is (WAL);
    PostgreSQL gives each statement a fresh look unless configured otherwise.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
