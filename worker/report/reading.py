"""One consistent look at the reporting views."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import DateTime, Dialect, String, TypeDecorator, text
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


class Instant(TypeDecorator[datetime]):
    """A time column of a view, as an aware UTC datetime. SQLite holds ISO 8601 text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Text on SQLite, which has no time type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """The store's one text form on SQLite: microseconds always, offset always."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- SQLAlchemy fixes the signature
        """Aware UTC; asyncpg gives the ends of time without a zone, as PostgreSQL's infinity."""
        if value is None:
            return None
        at: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
