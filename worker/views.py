"""The reporting views as report, export and queries read them: each column with its type.

The database's views have no types on SQLite (booleans are 0 and 1, times are text), so they are
said here. A test compares these declarations with the views of both databases.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, TableClause, Text, column, table

from worker.areas import AREAS
from worker.areas.reporting import COLUMNS
from worker.areas.words import Kind
from worker.core.value import Value
from worker.errors import UsageError
from worker.utc_time import UtcTime

PAYLOAD: Final = "payload"
"""The column with everything that PTS sent; left out of exports unless asked for."""


class View(Value, frozen=True, kw_only=True):
    """One reporting view.

    Attributes:
        columns: the kind of each column by its name, in order.
    """

    name: str
    columns: Mapping[str, Kind]

    def table(self, columns: Sequence[str] = ()) -> TableClause:
        """The view for SQLAlchemy, with these columns or all."""
        return table(
            self.name,
            *(column(name, _TYPES[self.columns[name]]) for name in columns or self.columns),
        )


_TYPES: Final[Mapping[Kind, Any]] = {
    Kind.TEXT: Text,
    Kind.INTEGER: BigInteger,
    Kind.BOOLEAN: Boolean(create_constraint=False),
    Kind.TIME: UtcTime,
    Kind.DATE: Text,
    Kind.JSON: Text,
}


def type_of(kind: Kind) -> Any:
    """SQLAlchemy's type of a column of this kind."""
    return _TYPES[kind]


VIEWS: Final[Mapping[str, View]] = {
    name: View(name=name, columns={column.name: column.kind for column in columns})
    for name, columns in COLUMNS.items()
}
"""Every reporting view by its name."""
FRESHNESS: Final = VIEWS["report_person_freshness"]
DAILY: Final = VIEWS["report_daily"]
PUBLICATION: Final = VIEWS["report_publication"]
COHORT: Final = VIEWS["report_publication_cohort"]
EPISODE: Final = VIEWS["report_episode"]
CHANGE_FEED: Final = VIEWS["report_change_feed"]
LABEL: Final = VIEWS["report_person_label"]
RUN: Final = VIEWS["report_run"]
ACCESS: Final = VIEWS["report_access"]
"""About those who use the program, so it is exported only where it is named."""
CURRENT: Final[Mapping[str, View]] = {
    area.name: VIEWS[f"report_{area.table}_current"] for area in AREAS
}
"""The view of the last published state, by the area's name."""
HISTORY: Final[Mapping[str, View]] = {
    area.name: VIEWS[f"report_{area.table}_history"] for area in AREAS
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
    found = {}
    for name in names or (name for name in VIEWS if name != ACCESS.name):
        full = name if name.startswith("report_") else f"report_{name}"
        if full not in VIEWS:
            raise UsageError(
                f"there is no reporting view {name!r}", hint=f"there are {', '.join(VIEWS)}"
            )
        found[full] = VIEWS[full]
    return tuple(found.values())
