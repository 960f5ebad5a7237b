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
    Column,
    ColumnElement,
    Interval,
    String,
    Table,
    Text,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.sql.dml import Insert

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

    def member(self, what: Column[Any]) -> ColumnElement[bool]:
        """``what`` is one of ``members``, as one parameter however many there are.

        An expanding ``IN`` is compiled anew for each length and was 3 to 12 times slower
        (performance reference, section 3).
        """
        return _member(self.name, what)

    def members(self, values: Sequence[int] | Sequence[str]) -> Mapping[str, Any]:
        """The parameter of a statement with ``member``."""
        if self.name == "postgresql":
            return {_MEMBERS: list(values)}
        return {_MEMBERS: orjson.dumps(list(values)).decode()}

    @property
    def later(self) -> ColumnElement[Any]:
        """A time from now on, by the statement itself: ``Database.later`` says how far."""
        return _LATER_BY_SERVER if self.has_clock else _LATER_BY_US


LATER: Final = "later"
_LATER_BY_US: Final = bindparam(LATER, type_=UtcTime())
_LATER_BY_SERVER: Final = func.clock_timestamp() + bindparam(LATER, type_=Interval())
_MEMBERS: Final = "members"


@cache
def _member(dialect: str, what: Column[Any]) -> ColumnElement[bool]:
    """Made once for each column, and without values.

    SQLAlchemy's expressions are cycles: with a batch's values in them these would be kept until
    the garbage collector looks.
    """
    if dialect == "postgresql":
        kind = ARRAY(Text if isinstance(what.type, String) else BigInteger)
        return what == any_(bindparam(_MEMBERS, type_=kind))
    listed = func.json_each(bindparam(_MEMBERS, type_=Text)).table_valued("value")
    return what.in_(select(listed.c.value))


def _insert_on(name: str) -> Callable[[Table], Any]:
    """The INSERT of a dialect, which is loaded when it is used: a run knows one database."""

    def insert(table: Table) -> Any:
        return import_module(f"sqlalchemy.dialects.{name}").insert(table)

    return insert


SQLITE: Final = StoreDialect(
    name="sqlite",
    driver_url="sqlite+aiosqlite",
    insert=_insert_on("sqlite"),
    has_clock=False,
    words={
        "true": "1",
        "false": "0",
        "days": "CAST(julianday(COALESCE(e.ended_at, {now})) - julianday(e.first_seen_at) + 1e-6 "
        "AS INTEGER)",
        "now": "strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')",
        "typed": "CAST",
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
        "days": "CAST(floor(EXTRACT(EPOCH FROM COALESCE(e.ended_at, {now}) - e.first_seen_at) "
        "/ 86400) AS BIGINT)",
        "now": "CURRENT_TIMESTAMP",
        "typed": "",
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


def upsert(dialect: StoreDialect, table: Table, values: Sequence[str]) -> Insert:
    """INSERT of complete rows that overwrites ``values`` where the primary key exists already."""
    statement = dialect.insert(table)
    result: Insert = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: statement.excluded[name] for name in values},
    )
    return result
