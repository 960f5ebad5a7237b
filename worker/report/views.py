"""The reporting views as the report and the export read them: each column with its type.

The database's views have no types on SQLite (booleans are 0 and 1, times are text), so they are
said here. A test compares these declarations with the views of both databases.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, TableClause, Text, column, table

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.errors import UsageError
from worker.report.reading import Instant

PAYLOAD: Final = "payload"
"""The column with everything that PTS sent; left out of exports unless asked for."""


class Kind(enum.StrEnum):
    """What a view's column holds."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    DATE = "date"
    """A UTC calendar date, as text ``YYYY-MM-DD``."""
    JSON = "json"
    """JSON as text, in every format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
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
    Kind.TIME: Instant,
    Kind.DATE: Text,
    Kind.JSON: Text,
}

_ROW: Final = {"restriction_id": Kind.TEXT, "person_key": Kind.TEXT, "local_ref": Kind.TEXT}
_TAIL: Final = {"tenant": Kind.TEXT, PAYLOAD: Kind.JSON}


def _own(area: ResourceArea) -> dict[str, Kind]:
    return {column.name: Kind(column.type.value) for column in area.columns}


def _current(area: ResourceArea) -> View:
    times = {"first_seen_at": Kind.TIME, "last_confirmed_at": Kind.TIME, "is_stale": Kind.BOOLEAN}
    return View(name=f"report_{area.table}_current", columns=_ROW | _own(area) | times | _TAIL)


def _history(area: ResourceArea) -> View:
    times = {
        "first_seen_at": Kind.TIME,
        "observed_at": Kind.TIME,
        "valid_from": Kind.TIME,
        "valid_to": Kind.TIME,
        "opened_run": Kind.INTEGER,
        "closed_run": Kind.INTEGER,
    }
    return View(name=f"report_{area.table}_history", columns=_ROW | _own(area) | times | _TAIL)


FRESHNESS: Final = View(
    name="report_person_freshness",
    columns={
        "person_key": Kind.TEXT,
        "local_ref": Kind.TEXT,
        "area": Kind.TEXT,
        "last_confirmed_at": Kind.TIME,
        "is_stale": Kind.BOOLEAN,
        "record_count": Kind.INTEGER,
        "pages": Kind.INTEGER,
        "failure_kind": Kind.TEXT,
        "failing_since": Kind.TIME,
        "failed_runs": Kind.INTEGER,
        "tenant": Kind.TEXT,
        "digest": Kind.TEXT,
        "first_read_at": Kind.TIME,
        "first_record_count": Kind.INTEGER,
        "first_digest": Kind.TEXT,
    },
)
DAILY_CHANGE: Final = View(
    name="report_daily_change",
    columns={
        "day": Kind.DATE,
        "area": Kind.TEXT,
        "added": Kind.INTEGER,
        "changed": Kind.INTEGER,
        "removed": Kind.INTEGER,
        "tenant": Kind.TEXT,
    },
)
RUN: Final = View(
    name="report_run",
    columns={
        "run_id": Kind.INTEGER,
        "kind": Kind.TEXT,
        "status": Kind.TEXT,
        "started_at": Kind.TIME,
        "finished_at": Kind.TIME,
        "published_at": Kind.TIME,
        "exit_code": Kind.INTEGER,
        "reason": Kind.TEXT,
        "areas": Kind.JSON,
        "persons_total": Kind.INTEGER,
        "persons_complete": Kind.INTEGER,
        "persons_stale": Kind.INTEGER,
        "persons_departed": Kind.INTEGER,
        "roster_faults": Kind.INTEGER,
        "areas_complete": Kind.INTEGER,
        "areas_failed": Kind.INTEGER,
        "rows_read": Kind.INTEGER,
        "rows_opened": Kind.INTEGER,
        "rows_changed": Kind.INTEGER,
        "rows_closed": Kind.INTEGER,
        "rows_moved": Kind.INTEGER,
        "rows_unchanged": Kind.INTEGER,
        "requests": Kind.INTEGER,
        "retries": Kind.INTEGER,
        "publication_no": Kind.INTEGER,
        "worker_version": Kind.TEXT,
        "tenant": Kind.TEXT,
        "persons_not_sent": Kind.INTEGER,
    },
)
ACCESS: Final = View(
    name="report_access",
    columns={
        "accessed_at": Kind.TIME,
        "os_user": Kind.TEXT,
        "login_user": Kind.TEXT,
        "host": Kind.TEXT,
        "command": Kind.TEXT,
        "person_key": Kind.TEXT,
        "purpose": Kind.TEXT,
        "tenant": Kind.TEXT,
    },
)
"""About those who use the program, so it is exported only where it is named."""
CURRENT: Final[Mapping[str, View]] = {area.name: _current(area) for area in AREAS}
"""The view of the last published state, by the area's name."""

VIEWS: Final[Mapping[str, View]] = {
    view.name: view
    for view in (
        *CURRENT.values(),
        *(_history(area) for area in AREAS),
        FRESHNESS,
        DAILY_CHANGE,
        RUN,
        ACCESS,
    )
}
"""Every reporting view by its name."""


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
