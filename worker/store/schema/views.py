"""The reporting views: the public face of the database (docs/reference/views.md).

They are derived from the tables and the area declarations, so ``db upgrade`` drops and makes them
anew after every migration. Columns are added, never renamed or dropped, within a major version.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from worker.areas import AREAS
from worker.areas.codes import codes
from worker.areas.meanings import view_columns
from worker.core.area import ResourceArea
from worker.core.effect import ends_at_sql, group_sql, in_effect_sql
from worker.store.dialects import StoreDialect
from worker.store.schema.fact_tables import DENOMINATORS, MOVEMENTS

FIRST_READ: Final = ("first_read_at", "first_digest")

_PROOF_ROW: Final = (
    "LEFT JOIN person_area pa ON pa.person_id = {person} AND pa.area = {area} "
    # PostgreSQL leaves out a LEFT JOIN of which nothing is asked.
    "LEFT JOIN run r ON r.run_id = pa.run_id "
    "LEFT JOIN person p ON p.person_id = {person} "
)

_LOCAL_REF: Final = "p.prev_local_ref"
"""The column itself, so that its index serves those who look for a reference."""
_COHORT: Final = "p.prev_cohort"
_THEN: Final = (
    "{{typed}}(CASE WHEN pl.label_id IS NOT NULL THEN pl.{0} ELSE p.prev_{0} END{{as_text}})"
)
"""What the person was called at a publication, with ``_AT``."""
_IS_THEN: Final = "pl.person_id = {person} AND pl.since_no <= {number} AND pl.until_no > {number} "
_AT: Final = f"LEFT JOIN person_label pl ON {_IS_THEN}"


_UNPUBLISHED: Final = "(SELECT u.run_id FROM run u WHERE u.publication_no IS NULL)"


def _published(column: str) -> str:
    """A proof's column as the last published run saw it; ``r`` is the run that wrote the proof."""
    return f"CASE WHEN r.publication_no IS NULL THEN pa.prev_{column} ELSE pa.{column} END"


def _is_stale(*areas: ResourceArea) -> str:
    """Not read completely by its last publication, or not on the roster of the last full run."""
    fresh = " ".join(
        f"WHEN pa.area = '{area.name}' AND (pa.is_complete AND r.publication_no >= {since} "
        "OR r.publication_no IS NULL AND pa.prev_is_complete AND pa.prev_run_id IN "
        f"(SELECT s.run_id FROM run s WHERE s.publication_no >= {since})) "
        "THEN {false}"
        for area in areas
        for since in [_last_sync(area)]
    )
    return f"{{typed}}(CASE {fresh} ELSE {{true}} END{{as_integer}})"


def _last_sync(area: ResourceArea) -> str:
    """The number of the last full publication."""
    return (
        "COALESCE((SELECT MAX(l.publication_no) FROM run l "
        f"WHERE l.kind = 'sync' AND l.areas LIKE '%\"{area.name}\"%'), 0)"
    )


def _current(area: ResourceArea) -> str:
    columns = "".join(f"v.{column.name}, " for column in area.columns)
    literal = f"'{area.name}'"
    return (
        f"SELECT v.restriction_id, p.person_key, {_LOCAL_REF} AS local_ref, {columns}"
        f"v.first_seen_at, {{typed}}({_published('confirmed_at')}{{as_text}}) "
        "AS last_confirmed_at, "
        f"{_is_stale(area)} AS is_stale, v.extra, "
        f"{{typed}}({in_effect_sql(area.effect, 'v', '{now}')}{{as_integer}}) AS is_in_effect, "
        f"{{typed}}({ends_at_sql(area.effect, 'v')}{{as_text}}) AS ends_at, "
        f"{{typed}}({group_sql(area.effect, 'v')}{{as_text}}) AS restriction_group, "
        "{typed}((SELECT MAX(l.publication_no) FROM run l){as_integer}) AS publication_no, "
        f"{_COHORT} AS cohort "
        f"FROM {area.table}_version v "
        "JOIN run o ON o.run_id = v.opened_run AND o.publication_no IS NOT NULL "
        + _PROOF_ROW.format(person="v.person_id", area=literal)
        + f"WHERE v.closed_run IS NULL OR v.closed_run IN {_UNPUBLISHED}"
    )


def _history(area: ResourceArea) -> str:
    """Versions under the label that still holds, and the others; each label has its index."""
    label = _IS_THEN.format(person="p.person_id", number="o.publication_no")
    return (
        _versions(area, (_LOCAL_REF, _COHORT))
        + f"WHERE NOT EXISTS (SELECT 1 FROM person_label pl WHERE {label}) UNION ALL "
        + _versions(area, ("pl.local_ref", "pl.cohort"))
        + f"JOIN person_label pl ON {label}"
    )


def _versions(area: ResourceArea, label: tuple[str, str]) -> str:
    columns = "".join(f"v.{column.name}, " for column in area.columns)
    local_ref, cohort = label
    return (
        f"SELECT v.restriction_id, p.person_key, {local_ref} AS local_ref, "
        f"{columns}v.first_seen_at, v.observed_at, o.published_at AS valid_from, "
        "c.published_at AS valid_to, v.opened_run, "
        "{typed}(CASE WHEN c.publication_no IS NOT NULL THEN v.closed_run END{as_integer}) "
        "AS closed_run, "
        "v.extra, o.publication_no AS opened_publication, "
        f"c.publication_no AS closed_publication, v.version_id AS version_no, {cohort} AS cohort "
        f"FROM {area.table}_version v "
        "JOIN run o ON o.run_id = v.opened_run AND o.publication_no IS NOT NULL "
        "LEFT JOIN run c ON c.run_id = v.closed_run AND c.publication_no IS NOT NULL "
        "JOIN person p ON p.person_id = v.person_id "
    )


def _freshness() -> str:
    first_read = ", ".join(
        f"{{typed}}({_published(name)}{{as_{'integer' if 'count' in name else 'text'}}}) AS {name}"
        for name in FIRST_READ
    )
    return (
        f"SELECT p.person_key, {_LOCAL_REF} AS local_ref, pa.area, "
        f"{{typed}}({_published('confirmed_at')}{{as_text}}) AS last_confirmed_at, "
        f"{_is_stale(*AREAS)} AS is_stale, "
        f"{{typed}}({_published('record_count')}{{as_integer}}) AS record_count, "
        f"{{typed}}({_published('pages')}{{as_integer}}) AS pages, "
        "f.kind AS failure_kind, f.first_at AS failing_since, f.runs AS failed_runs, "
        f"{{typed}}({_published('digest')}{{as_text}}) AS digest, {first_read}, "
        f"{_COHORT} AS cohort "
        "FROM person_area pa "
        "JOIN run r ON r.run_id = pa.run_id "
        "JOIN person p ON p.person_id = pa.person_id "
        "LEFT JOIN failure f ON f.person_id = pa.person_id AND f.area = pa.area "
        "WHERE p.departed_run IS NULL "
        "AND (pa.prev_run_id IS NOT NULL OR r.publication_no IS NOT NULL)"
    )


def _daily() -> str:
    return (
        "SELECT d.publication_no, d.published_at, {day} AS day, c.area, c.code, c.level, "
        "c.restriction_group, c.open, c.in_effect, c.added, c.changed, c.removed, c.persons, "
        "c.persons_in_effect, c.cause, {typed}(NULLIF(c.cohort, ''){as_text}) AS cohort "
        "FROM publication_code c JOIN publication d ON d.publication_no = c.publication_no"
    )


def _daily_change() -> str:
    """Rows that came, changed and went on each day, by area, as they were counted then."""
    return (
        "SELECT {day} AS day, c.area, CAST(SUM(c.added) AS BIGINT) AS added, "
        "CAST(SUM(c.changed) AS BIGINT) AS changed, CAST(SUM(c.removed) AS BIGINT) AS removed "
        "FROM publication_code c JOIN publication d ON d.publication_no = c.publication_no "
        "WHERE c.added + c.changed + c.removed > 0 "
        "GROUP BY d.day, c.area"
    )


def _publication() -> str:
    counts = ", ".join(f"d.{name}" for name in (*DENOMINATORS, *MOVEMENTS))
    return (
        f"SELECT d.publication_no, d.published_at, {{day}} AS day, d.kind, {counts} "
        "FROM publication d"
    )


def _publication_cohort() -> str:
    counts = ", ".join(f"c.{name}" for name in (*DENOMINATORS, *MOVEMENTS))
    return (
        "SELECT d.publication_no, d.published_at, {day} AS day, "
        f"{{typed}}(NULLIF(c.cohort, ''){{as_text}}) AS cohort, {counts} "
        "FROM publication_cohort c JOIN publication d ON d.publication_no = c.publication_no"
    )


def _feed() -> str:
    names = [f"v{number}" for number, _ in enumerate(AREAS)]
    joins = " ".join(
        f"LEFT JOIN {area.table}_version {name} "
        f"ON f.area = '{area.name}' AND {name}.version_id = f.version_id"
        for name, area in zip(names, AREAS, strict=True)
    )
    key = ", ".join(f"{name}.restriction_id" for name in names)
    return (
        "SELECT f.seq, f.publication_no, f.happened_at AS published_at, f.op, f.area, "
        f"{{typed}}(COALESCE({key}){{as_text}}) AS restriction_id, p.person_key, "
        f"{_THEN.format('local_ref')} AS local_ref, f.version_id AS version_no, "
        f"f.person_id AS person_no, {_THEN.format('cohort')} AS cohort "
        f"FROM change_feed f {joins} LEFT JOIN person p ON p.person_id = f.person_id "
        + _AT.format(person="f.person_id", number="f.publication_no")
    )


def _person_label() -> str:
    """What persons were called, and are: intervals without gaps, the last one open."""
    return (
        "SELECT p.person_key, {typed}(l.local_ref{as_text}) AS local_ref, "
        "{typed}(l.cohort{as_text}) AS cohort, d.published_at AS valid_from, "
        "e.published_at AS valid_to, {typed}(l.since_no{as_integer}) AS since_publication, "
        "{typed}(l.until_no{as_integer}) AS until_publication FROM ("
        "SELECT pl.person_id, pl.local_ref, pl.cohort, CASE WHEN pl.since_no = 0 "
        "THEN fr.publication_no ELSE pl.since_no END AS since_no, pl.until_no "
        "FROM person_label pl JOIN person p ON p.person_id = pl.person_id "
        "JOIN run fr ON fr.run_id = p.first_run "
        f"UNION ALL SELECT p.person_id, {_LOCAL_REF}, {_COHORT}, COALESCE("
        "(SELECT MAX(m.until_no) FROM person_label m WHERE m.person_id = p.person_id), "
        "fr.publication_no), CAST(NULL AS BIGINT) "
        "FROM person p JOIN run fr ON fr.run_id = p.first_run) l "
        "JOIN person p ON p.person_id = l.person_id "
        "JOIN publication d ON d.publication_no = l.since_no "
        "LEFT JOIN publication e ON e.publication_no = l.until_no"
    )


def _run() -> str:
    columns = ", ".join(f"r.{column.name}" for column in view_columns()["report_run"])
    return f"SELECT {columns} FROM run r"


def _access() -> str:
    return (
        "SELECT a.accessed_at, a.os_user, a.login_user, a.host, a.command, p.person_key, "
        "a.purpose "
        "FROM access_log a "
        "LEFT JOIN person p ON p.person_id = a.person_id"
    )


def _failure() -> str:
    return (
        f"SELECT p.person_key, {_LOCAL_REF} AS local_ref, f.area, f.kind AS failure_kind, "
        "f.status AS http_status, f.reason, f.attempts, f.runs AS failed_runs, "
        "f.first_at AS failing_since, f.last_at AS last_failed_at "
        "FROM failure f JOIN person p ON p.person_id = f.person_id "
    )


def _episode(area: ResourceArea) -> str:
    """One row for each time that a person's restriction came, from its published versions.

    It stands from when it was first seen, which outlives a change and retention, and is a
    new time where the restriction was gone and comes back. Those that stand and those that are gone
    are apart, so that who asks for one of the two does not read the other.
    """
    table = f"{area.table}_version"
    key = ("person_id", "restriction_id", "first_seen_at")
    same = " AND ".join(f"w.{column} = v.{column}" for column in key)
    gone = (
        f"SELECT {', '.join(f'v.{column}' for column in key)}, MAX(c.published_at) AS ended_at, "
        f"COUNT(*) AS versions FROM {table} v "
        # PostgreSQL takes a join by a column for one of all rows, whatever is NULL.
        "JOIN run c ON c.run_id = v.closed_run AND c.publication_no IS NOT NULL "
        "AND v.closed_run IS NOT NULL "
    )
    grouped = f"GROUP BY {', '.join(f'v.{column}' for column in key)}"
    stands = (
        "SELECT v.person_id, v.restriction_id, v.first_seen_at, "
        "CAST(NULL AS TIMESTAMPTZ) AS ended_at, COALESCE(w.versions, 0) AS revisions "
        f"FROM {table} v LEFT JOIN ({gone}{grouped}) w ON {same} WHERE {_stands('v')}"
    )
    ended = (
        f"SELECT v.person_id, v.restriction_id, v.first_seen_at, v.ended_at, "
        f"v.versions - 1 AS revisions FROM ({gone}"
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} w WHERE {same} AND {_stands('w')}) {grouped}) v"
    )
    return " UNION ALL ".join(
        f"SELECT CAST('{area.name}' AS TEXT) AS area, e.restriction_id, p.person_key, "
        f"{_LOCAL_REF} AS local_ref, "
        "{typed}(e.first_seen_at{as_text}) AS started_at, "
        "{typed}(e.ended_at{as_text}) AS ended_at, "
        "{typed}(e.first_seen_at <= fr.published_at{as_integer}) "
        "AS is_left_censored, CAST(e.revisions AS BIGINT) AS revisions, "
        f"{{days}} AS days FROM ({episodes}) e "
        "JOIN person p ON p.person_id = e.person_id "
        "JOIN run fr ON fr.run_id = p.first_run"
        for episodes in (stands, ended)
    )


def _stands(row: str) -> str:
    """Whether a version is one that readers see as open."""
    return (
        f"({row}.closed_run IS NULL OR {row}.closed_run IN {_UNPUBLISHED}) "
        f"AND {row}.opened_run NOT IN {_UNPUBLISHED}"
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
        return "{true}" if value else "{false}"
    return "'" + str(value).replace("'", "''") + "'"


def view_definitions(dialect: StoreDialect) -> Mapping[str, str]:
    """The SELECT of each reporting view, by its name."""
    views: dict[str, str] = {}
    for area in AREAS:
        views[f"report_{area.table}_current"] = _current(area)
        views[f"report_{area.table}_history"] = _history(area)
    views["report_person_freshness"] = _freshness()
    views["report_daily"] = _daily()
    views["report_publication"] = _publication()
    views["report_publication_cohort"] = _publication_cohort()
    views["report_daily_change"] = _daily_change()
    views["report_change_feed"] = _feed()
    views["report_person_label"] = _person_label()
    views["report_run"] = _run()
    views["report_access"] = _access()
    views["report_failure"] = _failure()
    views["report_drift"] = "SELECT d.area, d.field, d.records, d.first_seen_at FROM drift d"
    views["report_episode"] = " UNION ALL ".join(map(_episode, AREAS))
    views["report_code"] = _codes()
    views["report_dictionary"] = _dictionary()
    return {name: _in(dialect, sql) for name, sql in views.items()}


def _in(dialect: StoreDialect, sql: str) -> str:
    for name, word in dialect.words.items():
        sql = sql.replace(f"{{{name}}}", word)
    return sql


def drop_statements(dialect: StoreDialect) -> Iterator[str]:
    """Before a migration: no view may stand in the way of a changed table."""
    for name in view_definitions(dialect):
        yield f"DROP VIEW IF EXISTS {name}"


def create_statements(dialect: StoreDialect) -> Iterator[str]:
    """After a migration."""
    for name, sql in view_definitions(dialect).items():
        yield f"CREATE VIEW {name} AS {sql}"
    if dialect.name == "postgresql":
        yield from _comments()


def _comments() -> Iterator[str]:
    """What each column means, where PostgreSQL's own tools and catalogues look for it."""
    for view, columns in view_columns().items():
        for column in columns:
            yield f"COMMENT ON COLUMN {view}.{column.name} IS {_literal(column.en)}"
