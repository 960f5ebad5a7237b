"""What SQLite and PostgreSQL do differently, in one place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Interval,
    String,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    func,
    make_url,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement

from worker.errors import ConfigurationError
from worker.utc_time import UtcTime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDialect:
    """The facts about one database that the store depends on.

    Attributes:
        name: SQLAlchemy's name of the dialect.
        driver_url: the URL scheme with the async driver.
        insert: the dialect's INSERT with ``on_conflict_do_update``.
        has_clock: whether there is a server whose clock all holders of a lease go by.
        words: what the reporting views say differently: literals, the time, and the types that
            SQLite does not give to what is computed.
    """

    name: str
    driver_url: str
    insert: Callable[[Table], Any]
    has_clock: bool
    words: Mapping[str, str]

    @property
    def later(self) -> ColumnElement[Any]:
        """A time from now on, by the statement itself: ``Database.later`` says how far."""
        return _LATER_BY_SERVER if self.has_clock else _LATER_BY_US


LATER: Final = "later"
_LATER_BY_US: Final = bindparam(LATER, type_=UtcTime())
_LATER_BY_SERVER: Final = func.clock_timestamp() + bindparam(LATER, type_=Interval())
_MEMBERS: Final = "members"


class _Members(TypeDecorator[Sequence[Any]]):
    """Values as one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = Text
    cache_ok = True

    def __init__(self, item: type[Text | BigInteger]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Text on SQLite, which has no arrays."""
        return dialect.type_descriptor(ARRAY(self.item) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        """The values as the database takes them."""
        values = list(value or ())
        return values if dialect.name == "postgresql" else orjson.dumps(values).decode()


class _IsMember(FunctionElement[bool]):
    """A value, and the parameter with the values that it may be one of."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """As it is: ``= 1`` behind it, as behind a function, would keep SQLite from its index."""
        return self


@compiles(_IsMember, "postgresql")
def _in_array(element: _IsMember, compiler: Any, **more: Any) -> str:
    what, listed = (compiler.process(clause, **more) for clause in element.clauses)
    return f"{what} = ANY ({listed})"


@compiles(_IsMember, "sqlite")
def _in_json(element: _IsMember, compiler: Any, **more: Any) -> str:
    what, listed = (compiler.process(clause, **more) for clause in element.clauses)
    return f"{what} IN (SELECT value FROM json_each({listed}))"  # noqa: S608 - a column


@cache
def member(what: Column[Any]) -> ColumnElement[bool]:
    """``what`` is one of ``members``, as one parameter however many there are.

    An expanding ``IN`` is compiled anew for each length and was 3 to 12 times slower (performance
    reference, section 3). Made once for each column, and without values: SQLAlchemy's expressions
    are cycles, and would keep a batch's values until the garbage collector looks.
    """
    item = Text if isinstance(what.type, String) else BigInteger
    return _IsMember(what, bindparam(_MEMBERS, type_=_Members(item)))


def members(values: Sequence[int] | Sequence[str]) -> Mapping[str, Any]:
    """The parameter of a statement with ``member``."""
    return {_MEMBERS: values}


def _insert_on(name: str) -> Callable[[Table], Any]:
    """The INSERT of a dialect, which is loaded when it is used: a run knows one database."""

    def insert(table: Table) -> Any:
        return import_module(f"sqlalchemy.dialects.{name}").insert(table)

    return insert


_DAYS_SQLITE: Final = (
    "CAST(julianday(COALESCE(c.published_at, {now})) - julianday(e.first_seen_at) + 1e-6 "
    "AS INTEGER)"
)
_DAYS_POSTGRESQL: Final = (
    "CAST(floor(EXTRACT(EPOCH FROM COALESCE(c.published_at, {now}) - e.first_seen_at) / 86400) "
    "AS BIGINT)"
)
SQLITE: Final = StoreDialect(
    name="sqlite",
    driver_url="sqlite+aiosqlite",
    insert=_insert_on("sqlite"),
    has_clock=False,
    words={
        "true": "1",
        "false": "0",
        "days": _DAYS_SQLITE,
        "now": "strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')",
        "typed": "CAST",
        "day": "r.day",
        "as_text": " AS TEXT",
        "as_integer": " AS INTEGER",
    },
)
POSTGRESQL: Final = StoreDialect(
    name="postgresql",
    driver_url="postgresql+asyncpg",
    insert=_insert_on("postgresql"),
    has_clock=True,
    words={
        "true": "true",
        "false": "false",
        "days": _DAYS_POSTGRESQL,
        "now": "CURRENT_TIMESTAMP",
        "typed": "",
        "day": "CAST(r.day AS DATE)",
        "as_text": "",
        "as_integer": "",
    },
)


def dialect_named(name: str) -> StoreDialect:
    """The dialect of a URL's scheme.

    Raises:
        ConfigurationError: the database is neither SQLite nor PostgreSQL.
    """
    match name:
        case "sqlite":
            return SQLITE
        case "postgresql" | "postgres":
            return POSTGRESQL
        case _:
            raise ConfigurationError(
                f"database.url: {name} is not supported",
                hint="use sqlite:///FILE or postgresql://USER@HOST/DATABASE",
            )


def driver_url(url: str) -> tuple[URL, StoreDialect]:
    """The URL with its async driver, and the dialect.

    Raises:
        ConfigurationError: it is not a URL, or names another database or driver.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "database.url: this is not a database URL",
            hint="use sqlite:///FILE or postgresql://USER@HOST/DATABASE",
        ) from error
    dialect = dialect_named(parsed.get_backend_name())
    parsed = parsed.set(drivername=dialect.driver_url)
    return parsed, dialect


async def delete_securely(connection: AsyncConnection) -> None:
    """Let SQLite overwrite what this transaction deletes."""
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("PRAGMA secure_delete=ON")


def upsert(dialect: StoreDialect, table: Table, values: Sequence[str]) -> Insert:
    """INSERT of complete rows that overwrites ``values`` where the primary key exists already."""
    statement = dialect.insert(table)
    result: Insert = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: statement.excluded[name] for name in values},
    )
    return result
