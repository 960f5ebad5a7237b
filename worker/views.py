"""The reporting views as report, export and queries read them: each column with its type.

The database's views have no types on SQLite (booleans are 0 and 1, times are text), so they are
said here. A test compares these declarations with the views of both databases.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import BigInteger, Boolean, Date, TableClause, Text, column, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.areas.meanings import Kind, view_columns
from worker.core.value import Value
from worker.errors import UsageError
from worker.utc_time import UtcTime


class View(Value, frozen=True, kw_only=True):
    """One reporting view."""

    name: str

    @property
    def columns(self) -> Mapping[str, Kind]:
        """The kind of each column by its name, in order."""
        return {column.name: column.kind for column in view_columns()[self.name]}

    def table(self, columns: Sequence[str] = ()) -> TableClause:
        """The view for SQLAlchemy, with these columns or all."""
        kinds = self.columns
        return table(self.name, *(column(name, _TYPES[kinds[name]]) for name in columns or kinds))


T = TypeVar("T")
_TYPES: Final[Mapping[Kind, Any]] = {
    Kind.TEXT: Text,
    Kind.INTEGER: BigInteger,
    Kind.BOOLEAN: Boolean(create_constraint=False),
    Kind.TIME: UtcTime,
    Kind.DATE: Date,
    Kind.JSON: Text,
}


def type_of(kind: Kind) -> Any:
    """SQLAlchemy's type of a column of this kind."""
    return _TYPES[kind]


FRESHNESS: Final = View(name="report_person_freshness")
PUBLICATION: Final = View(name="report_publication")
COHORT: Final = View(name="report_publication_cohort")
EPISODE: Final = View(name="report_episode")
FIGURE: Final = View(name="report_publication_figure")
CHANGE_FEED: Final = View(name="report_change_feed")
RUN: Final = View(name="report_run")
ACCESS: Final = View(name="report_access")
"""About those who use the program, so it is exported only where it is named."""
CURRENT: Final[Mapping[str, View]] = {
    area.name: View(name=f"report_{area.table}_current") for area in AREAS
}
"""The view of the last published state, by the area's name."""
HISTORY: Final[Mapping[str, View]] = {
    area.name: View(name=f"report_{area.table}_history") for area in AREAS
}
"""The view of all versions, by the area's name."""
AREA_VIEWS: Final[Mapping[str, tuple[str, str]]] = {
    view.name: (area, what)
    for what, views in (("current", CURRENT), ("history", HISTORY))
    for area, view in views.items()
}
"""The area and the kind of each view of one area, by the view's name."""


def views_named(names: Sequence[str]) -> tuple[View, ...]:
    """The views of these names, with or without ``report_``; for no name all but ``ACCESS``.

    Raises:
        UsageError: there is no view of a name.
    """
    views = {name: View(name=name) for name in view_columns()}
    found = {}
    for name in names or (name for name in views if name != ACCESS.name):
        full = name if name.startswith("report_") else f"report_{name}"
        if full not in views:
            raise UsageError(
                f"there is no reporting view {name!r}", hint=f"there are {', '.join(views)}"
            )
        found[full] = views[full]
    return tuple(found.values())


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
