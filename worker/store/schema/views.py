"""The reporting views: the public face of the database (docs/reference/views.md).

They are derived from the tables and the area declarations, so ``db upgrade`` drops and makes them
anew after every migration. Columns are added, never renamed or dropped, within a major version.

In their SQL ``p`` is the person, ``v`` the version and ``r`` the run that was published. None of
them reads a draft.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from worker.areas import AREAS
from worker.areas.meanings import codes, view_columns, view_name_nb
from worker.core.area import ResourceArea
from worker.core.effect import ends_at_sql, group_sql, in_effect_sql
from worker.store.schema.tables import PERSON_COUNTS, area_column
from worker.store.statements import IS_STALE, of_area

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "sqlite": {
        "days": "CAST(julianday(COALESCE(c.published_at, {now})) - julianday(e.first_seen_at) "
        "+ 1e-6 AS INTEGER)",
        "now": "strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')",
        "typed": "CAST",
        "day": "r.day",
        "as_text": " AS TEXT",
        "as_integer": " AS INTEGER",
    },
    "postgresql": {
        "days": "CAST(floor(EXTRACT(EPOCH FROM COALESCE(c.published_at, {now}) "
        "- e.first_seen_at) / 86400) AS BIGINT)",
        "now": "CURRENT_TIMESTAMP",
        "typed": "",
        "day": "CAST(r.day AS DATE)",
        "as_text": "",
        "as_integer": "",
    },
}
"""What the views say differently on each database: the time, and the types that SQLite
does not give to what is computed."""
_LAST: Final = "(SELECT MAX(publication_no) FROM run)"
_PUBLICATIONS: Final = (
    "(SELECT publication_no, published_at, day, "
    "publication_no = MAX(publication_no) OVER (PARTITION BY day) AS is_last_of_day, "
    "publication_no = MAX(publication_no) OVER () AS is_last "
    "FROM run WHERE publication_no IS NOT NULL)"
)
_AS_IN_A_TABLE: Final = {
    "run": "report_run",
    "access_log": "report_access",
    "drift": "report_drift",
}
"""By table: the views that show some of its columns as they are."""
_NO_COHORT: Final = "{typed}(NULLIF(c.cohort, ''){as_text}) AS cohort"
"""Facts have an empty text for persons without a cohort, because it is in their key."""


def _of_person(area: ResourceArea, name: str) -> str:
    return f"p.{area_column(area, name)}"


def _is_stale(area: ResourceArea) -> str:
    is_stale = of_area(IS_STALE, area).strip()
    return f"{{typed}}(CASE WHEN {is_stale} THEN true ELSE false END{{as_integer}})"


def _current(area: ResourceArea) -> str:
    columns = "".join(f"v.{column.name}, " for column in area.columns)
    return (
        f"SELECT v.restriction_id, p.person_key, p.local_ref, {columns}"
        f"v.first_seen_at, {_of_person(area, 'confirmed_at')} AS last_confirmed_at, "
        f"{_is_stale(area)} AS is_stale, v.extra, "
        f"{{typed}}({in_effect_sql(area.effect, 'v', '{now}')}{{as_integer}}) AS is_in_effect, "
        f"{{typed}}({ends_at_sql(area.effect, 'v')}{{as_text}}) AS ends_at, "
        f"{{typed}}({group_sql(area.effect, 'v')}{{as_text}}) AS restriction_group, "
        f"{{typed}}({_LAST}{{as_integer}}) AS publication_no, p.cohort "
        f"FROM {area.table}_version v JOIN person p ON p.person_id = v.person_id "
        "WHERE v.closed_no IS NULL"
    )


def _history(area: ResourceArea) -> str:
    columns = "".join(f"v.{column.name}, " for column in area.columns)
    return (
        f"SELECT v.restriction_id, p.person_key, p.local_ref, "
        f"{columns}v.first_seen_at, v.observed_at, o.published_at AS valid_from, "
        "c.published_at AS valid_to, o.run_id AS opened_run, c.run_id AS closed_run, "
        "v.extra, v.opened_no AS opened_publication, v.closed_no AS closed_publication, "
        "v.version_id AS version_no, p.cohort, "
        f"{{typed}}(v.closed_no IS NULL AND {in_effect_sql(area.effect, 'v', '{now}')}"
        "{as_integer}) AS is_in_effect, "
        f"{{typed}}({ends_at_sql(area.effect, 'v')}{{as_text}}) AS ends_at, "
        f"{{typed}}({group_sql(area.effect, 'v')}{{as_text}}) AS restriction_group "
        f"FROM {area.table}_version v "
        "JOIN person p ON p.person_id = v.person_id "
        "JOIN run o ON o.publication_no = v.opened_no "
        "LEFT JOIN run c ON c.publication_no = v.closed_no"
    )


def _freshness() -> str:
    """A row for each person on the roster and area that was ever read, or could not be.

    Without a UNION, so that PostgreSQL joins a list of persons with it by index.
    """
    columns = ", ".join(
        f"{{typed}}({_of_each(partial(_of_person, name=name))}{{as_{kind}}}) AS {shown or name}"
        for name, kind, shown in _FRESHNESS
    )
    areas = " UNION ALL ".join(f"SELECT CAST('{area.name}' AS TEXT) AS area" for area in AREAS)
    confirmed, failed = (
        _of_each(partial(_of_person, name=name)) for name in ("confirmed_at", "failure_kind")
    )
    return (
        f"SELECT p.person_key, p.local_ref, a.area, {columns}, "
        f"{{typed}}({_of_each(_is_stale)}{{as_integer}}) AS is_stale, p.cohort "
        f"FROM person p CROSS JOIN ({areas}) a "
        f"WHERE p.departed_no IS NULL AND ({confirmed} IS NOT NULL OR {failed} IS NOT NULL)"
    )


_FRESHNESS: Final = (
    ("confirmed_at", "text", "last_confirmed_at"),
    ("record_count", "integer", ""),
    ("pages", "integer", ""),
    ("digest", "text", ""),
    ("first_read_at", "text", ""),
    ("first_digest", "text", ""),
    ("failure_kind", "text", ""),
    ("failure_status", "integer", "http_status"),
    ("failure_reason", "text", "reason"),
    ("failure_attempts", "integer", "attempts"),
    ("failing_since", "text", ""),
    ("failed_at", "text", "last_failed_at"),
    ("failed_runs", "integer", ""),
)
"""What the view shows for each area: the column of ``person``, its kind, and its name in the view
if that differs."""


def _of_each(sql: Callable[[ResourceArea], str]) -> str:
    """An expression by the area of the row ``a``."""
    cases = " ".join(f"WHEN '{area.name}' THEN {sql(area)}" for area in AREAS)
    return f"CASE a.area {cases} END"


def _daily() -> str:
    names = ", ".join(
        f"{{typed}}({_name_of('c.code', name)}{{as_text}}) AS code_{name}"
        for name in ("name_nb", "name_nn", "name_en")
    )
    return (
        "SELECT c.publication_no, r.published_at, {day} AS day, c.area, c.code, c.level, "
        "{typed}(NULLIF(c.restriction_group, ''){as_text}) AS restriction_group, "
        "c.open, c.in_effect, c.added, c.changed, c.removed, c.persons, "
        f"c.persons_in_effect, c.cause, {_NO_COHORT}, {names}, "
        "{typed}(r.is_last_of_day{as_integer}) AS is_last_of_day, "
        "{typed}(r.is_last{as_integer}) AS is_last "
        f"FROM publication_code c JOIN {_PUBLICATIONS} r ON r.publication_no = c.publication_no"
    )


def _name_of(column: str, language: str) -> str:
    """The name of a code of restrictions; NULL for one that is not known."""
    cases = " ".join(
        f"WHEN {_literal(code.code)} THEN {_literal(getattr(code, language))}"
        for code in codes()
        if code.is_restricting is not None
    )
    return f"CASE {column} {cases} END"


def _publication() -> str:
    counts = ", ".join(f"r.{name}" for name in PERSON_COUNTS)
    return (
        f"SELECT r.publication_no, r.published_at, {{day}} AS day, r.kind, {counts} "
        "FROM run r WHERE r.publication_no IS NOT NULL"
    )


def _publication_cohort() -> str:
    counts = ", ".join(f"c.{name}" for name in PERSON_COUNTS)
    return (
        f"SELECT c.publication_no, r.published_at, {{day}} AS day, {_NO_COHORT}, {counts} "
        "FROM publication_cohort c JOIN run r ON r.publication_no = c.publication_no"
    )


def _publication_figure() -> str:
    return (
        "SELECT c.publication_no, r.published_at, {day} AS day, c.figure, "
        "{typed}(NULLIF(c.restriction_group, ''){as_text}) AS restriction_group, "
        f"c.code, c.level, {_NO_COHORT}, c.restrictions, c.persons "
        "FROM publication_figure c JOIN run r ON r.publication_no = c.publication_no"
    )


def _feed() -> str:
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
    return (
        "SELECT f.seq, f.publication_no, f.happened_at AS published_at, f.op, f.area, "
        f"{{typed}}(COALESCE({key}){{as_text}}) AS restriction_id, p.person_key, "
        "p.local_ref, f.version_id AS version_no, f.person_id AS person_no, p.cohort, "
        f"{{typed}}(CASE f.area {groups} END{{as_text}}) AS restriction_group "
        f"FROM change_feed f {joins} LEFT JOIN person p ON p.person_id = f.person_id"
    )


def _columns_of(table: str, view: str) -> str:
    columns = ", ".join(f"t.{column.name}" for column in view_columns()[view])
    return f"SELECT {columns} FROM {table} t"


def _episode() -> str:
    """One row for each time that a person's restriction came, from its last version.

    It stands from when it was first seen, which outlives a change and retention, and is a new time
    where the restriction was gone and comes back. Nothing is grouped, and the parts of the UNION
    are one table each with columns of the same types: so both databases find the rows of one
    person, and of a list of persons, by index.
    """
    parts = " UNION ALL ".join(map(_last_versions, AREAS))
    return (
        "SELECT e.area, e.restriction_id, p.person_key, p.local_ref, "
        "e.first_seen_at AS started_at, c.published_at AS ended_at, "
        "{typed}(e.first_seen_at <= fr.published_at{as_integer}) AS is_left_censored, "
        "e.revisions, {days} AS days "
        f"FROM person p JOIN ({parts}) e ON e.person_id = p.person_id "
        "JOIN run fr ON fr.publication_no = p.first_no "
        "LEFT JOIN run c ON c.publication_no = e.closed_no WHERE e.is_last"
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
        "v.first_seen_at, v.closed_no, v.closed_no IS NULL OR NOT EXISTS "
        f"(SELECT 1 {same} AND w.opened_no > v.opened_no) AS is_last, "
        f"CAST((SELECT COUNT(*) {same} AND w.opened_no < v.opened_no) AS BIGINT) AS revisions "
        f"FROM {table} v"
    )


def _codes() -> str:
    return _values([column.name for column in view_columns()["report_code"]], list(codes()))


def _dictionary() -> str:
    rows = [
        (
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
        for view, columns in view_columns().items()
        for column in columns
    ]
    return _values([column.name for column in view_columns()["report_dictionary"]], rows)


def _values(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows that are said by the program; both databases call the columns of VALUES alike."""
    listed = ", ".join(f"column{number} AS {name}" for number, name in enumerate(names, 1))
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
    return f"SELECT {listed} FROM (VALUES {values}) AS said"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "'" + str(value).replace("'", "''") + "'"


def view_definitions(dialect: str) -> Mapping[str, str]:
    """The SELECT of each reporting view, by its name; ``dialect`` is SQLAlchemy's name."""
    views: dict[str, str] = {}
    for area in AREAS:
        views[f"report_{area.table}_current"] = _current(area)
        views[f"report_{area.table}_history"] = _history(area)
    views["report_person_freshness"] = _freshness()
    views["report_daily"] = _daily()
    views["report_publication"] = _publication()
    views["report_publication_cohort"] = _publication_cohort()
    views["report_publication_figure"] = _publication_figure()
    views["report_change_feed"] = _feed()
    for table, view in _AS_IN_A_TABLE.items():
        views[view] = _columns_of(table, view)
    views["report_episode"] = _episode()
    views["report_code"] = _codes()
    views["report_dictionary"] = _dictionary()
    return {name: _in(dialect, sql) for name, sql in views.items()}


def _in(dialect: str, sql: str) -> str:
    for name, word in _WORDS[dialect].items():
        sql = sql.replace(f"{{{name}}}", word)
    return sql


def drop_statements(dialect: str) -> Iterator[str]:
    """Before a migration: no view may stand in the way of a changed table."""
    for name in view_definitions(dialect):
        yield f"DROP VIEW IF EXISTS {name}"


def create_statements(dialect: str) -> Iterator[str]:
    """After a migration."""
    for name, sql in view_definitions(dialect).items():
        yield f"CREATE VIEW {name} AS {sql}"
    if dialect == "postgresql":
        yield from _comments()


def _comments() -> Iterator[str]:
    """What each column means, where PostgreSQL's own tools and catalogues look for it."""
    for view, columns in view_columns().items():
        for column in columns:
            yield f"COMMENT ON COLUMN {view}.{column.name} IS {_literal(column.en)}"
