"""The reporting views: the public face of the database (docs/reference/views.md).

Their columns are those that ``areas/meanings.toml`` declares, with name, order and kind. This
module says where the rows come from, and defines the columns that no table has. ``db upgrade``
drops and recreates the views after every migration. Columns are added, never renamed or dropped,
within a major version.

In their SQL ``p`` is the person, ``v`` the version and ``r`` the run that was published. None of
them reads a draft.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from worker.core.area import AREAS, ResourceArea
from worker.core.effect import ends_at_sql, group_sql, in_effect_sql
from worker.store.filling import of_area
from worker.store.schema.tables import area_column
from worker.store.statements import IS_STALE
from worker.views import Kind, ViewColumn, codes, view_columns, view_name_nb


class _View(NamedTuple):
    """A view.

    Attributes:
        source: where its rows come from: what follows FROM.
        table: the alias in it whose columns are shown under their own names.
        given: the other columns, by name.
    """

    source: str
    table: str
    given: Mapping[str, str] = {}


_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "sqlite": {
        "days": "MAX(julianday(COALESCE(c.published_at, {now})) - julianday(e.first_seen_at) "
        "+ 1e-6, 0)",
        "now": "strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')",
    },
    "postgresql": {
        "days": "GREATEST(CAST(floor(EXTRACT(EPOCH FROM COALESCE(c.published_at, {now}) "
        "- e.first_seen_at) / 86400) AS BIGINT), 0)",
        "now": "CURRENT_TIMESTAMP",
    },
}
"""What the views say differently on each database."""
_OF_A_TABLE: Final = re.compile(r"\w+\.\w+")
_PUBLICATIONS: Final = (
    "(SELECT publication_no, published_at, day, "
    "publication_no = MAX(publication_no) OVER (PARTITION BY day) AS is_last_of_day, "
    "publication_no = MAX(publication_no) OVER () AS is_last "
    "FROM run WHERE publication_no IS NOT NULL)"
)
_OF_A_PERSON: Final = {name: f"p.{name}" for name in ("person_key", "local_ref", "cohort")}
_OF_FACTS: Final = {
    "published_at": "r.published_at",
    "day": "r.day",
    "restriction_group": "NULLIF(c.restriction_group, '')",
    "cohort": "NULLIF(c.cohort, '')",
}
"""Facts have an empty text for persons without a cohort and for codes without a group, because both
are in their key."""


def _of_restriction(area: ResourceArea) -> Mapping[str, str]:
    """What is shown of the version ``v`` and its person, now and in history."""
    return _OF_A_PERSON | {
        "is_in_effect": in_effect_sql(area.effect, "v", "{now}"),
        "ends_at": ends_at_sql(area.effect, "v"),
        "restriction_group": str(group_sql(area.effect, "v")),
    }


def _of_person(area: ResourceArea, name: str) -> str:
    return f"p.{area_column(area, name)}"


def _is_stale(area: ResourceArea) -> str:
    return of_area(IS_STALE, area).strip()


def _current(area: ResourceArea) -> _View:
    return _View(
        f"{area.table}_version v JOIN person p ON p.person_id = v.person_id "
        "WHERE v.closed_no IS NULL",
        "v",
        {
            **_of_restriction(area),
            "last_confirmed_at": _of_person(area, "confirmed_at"),
            "is_stale": _is_stale(area),
            "publication_no": "(SELECT MAX(publication_no) FROM run)",
        },
    )


def _history(area: ResourceArea) -> _View:
    shown = _of_restriction(area)
    return _View(
        f"{area.table}_version v JOIN person p ON p.person_id = v.person_id "
        "JOIN run o ON o.publication_no = v.opened_no "
        "LEFT JOIN run c ON c.publication_no = v.closed_no",
        "v",
        {
            **shown,
            "is_in_effect": f"v.closed_no IS NULL AND {shown['is_in_effect']}",
            "valid_from": "o.published_at",
            "valid_to": "c.published_at",
            "opened_run": "o.run_id",
            "closed_run": "c.run_id",
            "opened_publication": "v.opened_no",
            "closed_publication": "v.closed_no",
            "version_no": "v.version_id",
        },
    )


_FRESHNESS: Final = "report_person_freshness"
_PERSON_COLUMNS: Final = {
    "last_confirmed_at": "confirmed_at",
    "http_status": "failure_status",
    "reason": "failure_reason",
    "attempts": "failure_attempts",
    "last_failed_at": "failed_at",
}
"""The columns of ``person`` that have another name in the view of freshness."""


def _freshness() -> _View:
    """A row for each person on the roster and area that was ever read, or could not be.

    Without a UNION, so that PostgreSQL joins a list of persons with it by index.
    """
    names = (column.name for column in view_columns()[_FRESHNESS])
    of_each = {
        name: _of_each(partial(_of_person, name=_PERSON_COLUMNS.get(name, name))) for name in names
    }
    areas = " UNION ALL ".join(f"SELECT CAST('{area.name}' AS TEXT) AS area" for area in AREAS)
    return _View(
        f"person p CROSS JOIN ({areas}) a WHERE p.departed_no IS NULL AND "
        f"({of_each['last_confirmed_at']} IS NOT NULL OR {of_each['failure_kind']} IS NOT NULL)",
        "p",
        of_each | _OF_A_PERSON | {"area": "a.area", "is_stale": _of_each(_is_stale)},
    )


def _of_each(sql: Callable[[ResourceArea], str]) -> str:
    """An expression by the area of the row ``a``."""
    cases = " ".join(f"WHEN '{area.name}' THEN {sql(area)}" for area in AREAS)
    return f"CASE a.area {cases} END"


def _daily() -> _View:
    names = {f"code_{name}": _name_of("c.code", name) for name in ("name_nb", "name_nn", "name_en")}
    computed = {"is_last_of_day": "(r.is_last_of_day)", "is_last": "(r.is_last)"}
    return _View(
        f"publication_code c JOIN {_PUBLICATIONS} r ON r.publication_no = c.publication_no",
        "c",
        {**_OF_FACTS, **names, **computed},
    )


def _name_of(column: str, language: str) -> str:
    """The name of a code of restrictions; NULL for one that is not known."""
    cases = " ".join(
        f"WHEN {_literal(code.code)} THEN {_literal(getattr(code, language))}"
        for code in codes()
        if code.is_restricting is not None
    )
    return f"CASE {column} {cases} END"


def _facts(table: str) -> _View:
    source = f"{table} c JOIN run r ON r.publication_no = c.publication_no"
    return _View(source, "c", _OF_FACTS)


def _feed() -> _View:
    names = [f"v{number}" for number, _ in enumerate(AREAS)]
    joins = " ".join(
        f"LEFT JOIN {area.table}_version {name} "
        f"ON f.area = '{area.name}' AND {name}.version_id = f.version_id"
        for name, area in zip(names, AREAS, strict=True)
    )
    key = ", ".join(f"{name}.restriction_id" for name in names)
    groups = " ".join(
        f"WHEN '{area.name}' THEN {group_sql(area.effect, name)}"
        for name, area in zip(names, AREAS, strict=True)
    )
    return _View(
        f"change_feed f {joins} LEFT JOIN person p ON p.person_id = f.person_id",
        "f",
        {
            **_OF_A_PERSON,
            "published_at": "f.happened_at",
            "restriction_id": f"COALESCE({key})",
            "restriction_group": f"CASE f.area {groups} END",
            "version_no": "f.version_id",
            "person_no": "f.person_id",
        },
    )


def _episode() -> _View:
    """One row for each time that a person's restriction came, from its last version.

    It stands from when it was first seen, which outlives a change and retention, and is a new time
    where the restriction was gone and comes back. Nothing is grouped, and the parts of the UNION
    are one table each with columns of the same types: so both databases find the rows of one
    person, and of a list of persons, by index.
    """
    parts = " UNION ALL ".join(map(_last_versions, AREAS))
    return _View(
        f"person p JOIN ({parts}) e ON e.person_id = p.person_id "
        "LEFT JOIN run c ON c.publication_no = e.closed_no WHERE e.is_last",
        "e",
        {
            **_OF_A_PERSON,
            "started_at": "e.first_seen_at",
            "ended_at": "c.published_at",
            "days": "{days}",
        },
    )


def _last_versions(area: ResourceArea) -> str:
    """The versions of an area, and which are the last ones of their episode."""
    table = f"{area.table}_version"
    same = (
        f"FROM {table} w WHERE w.person_id = v.person_id "
        "AND w.restriction_id = v.restriction_id AND w.first_seen_at = v.first_seen_at"
    )
    return (
        f"SELECT CAST('{area.name}' AS TEXT) AS area, v.person_id, v.restriction_id, "
        "v.first_seen_at, v.is_left_censored, v.closed_no, v.closed_no IS NULL OR NOT EXISTS "
        f"(SELECT 1 {same} AND w.opened_no > v.opened_no) AS is_last, "
        f"CAST((SELECT COUNT(*) {same} AND w.opened_no < v.opened_no) AS BIGINT) AS revisions "
        f"FROM {table} v"
    )


def _dictionary() -> Iterator[Sequence[object]]:
    for view, columns in view_columns().items():
        for column in columns:
            yield (
                view,
                column.name,
                column.kind.value,
                column.unit,
                column.is_nullable,
                column.nb,
                column.en,
                view_name_nb(view),
                column.heading,
            )


def _said(view: str, rows: Sequence[Sequence[object]]) -> _View:
    """Rows that are said by the program; both databases call the columns of VALUES alike."""
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
    names = (column.name for column in view_columns()[view])
    given = {name: f"said.column{number}" for number, name in enumerate(names, 1)}
    return _View(f"(VALUES {values}) AS said", "said", given)


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "'" + str(value).replace("'", "''") + "'"


def _views() -> Mapping[str, _View]:
    return {
        **{f"report_{area.table}_current": _current(area) for area in AREAS},
        **{f"report_{area.table}_history": _history(area) for area in AREAS},
        _FRESHNESS: _freshness(),
        "report_daily": _daily(),
        "report_publication": _View("run r WHERE r.publication_no IS NOT NULL", "r"),
        "report_publication_cohort": _facts("publication_cohort"),
        "report_publication_figure": _facts("publication_figure"),
        "report_change_feed": _feed(),
        "report_run": _View("run r", "r"),
        "report_access": _View("access_log a", "a"),
        "report_drift": _View("drift d", "d"),
        "report_episode": _episode(),
        "report_code": _said("report_code", list(codes())),
        "report_dictionary": _said("report_dictionary", list(_dictionary())),
    }


def view_definitions(dialect: str) -> Mapping[str, str]:
    """The SELECT of each reporting view, by its name; ``dialect`` is SQLAlchemy's name."""
    return {name: _definition(dialect, name, view) for name, view in _views().items()}


def _definition(dialect: str, name: str, view: _View) -> str:
    columns = ", ".join(
        f"{_typed(dialect, column, view)} AS {column.name}" for column in view_columns()[name]
    )
    sql = f"SELECT {columns} FROM {view.source}"
    for word, said in _WORDS[dialect].items():
        sql = sql.replace(f"{{{word}}}", said)
    return sql


def _typed(dialect: str, column: ViewColumn, view: _View) -> str:
    """What a column is, with the type that SQLite does not give to what is computed."""
    sql = view.given.get(column.name, f"{view.table}.{column.name}")
    if dialect == "sqlite" and not _OF_A_TABLE.fullmatch(sql):
        is_number = column.kind in {Kind.INTEGER, Kind.BOOLEAN}
        return f"CAST({sql} AS {'INTEGER' if is_number else 'TEXT'})"
    if dialect == "postgresql" and column.kind == Kind.DATE:
        return f"CAST({sql} AS DATE)"
    return sql
