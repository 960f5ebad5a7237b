"""The one time type of all databases, and its text form on SQLite."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, String, TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC instant. PostgreSQL: ``timestamptz``. SQLite: ISO 8601 text that sorts.

    Raises:
        ValueError: a naive datetime is given.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Text on SQLite, which has no time type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive times; write UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time must not reach the database")
        value = value.astimezone(UTC)
        return iso_utc(value) if dialect.name == "sqlite" else value

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy fixes the name
    ) -> datetime | None:
        """Give back aware UTC."""
        return None if value is None else as_utc(value)


def as_utc(value: str | datetime) -> datetime:
    """The instant that a driver has read."""
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if value.tzinfo is None:  # asyncpg reads infinity as a naive extreme
        return value.replace(tzinfo=UTC)
    return value.astimezone(UTC)


def iso_utc(value: datetime) -> str:
    """The one text form of an instant in SQLite: microseconds always, offset always."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")
