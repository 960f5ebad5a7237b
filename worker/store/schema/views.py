"""The reporting views: the public face of the database (docs/reference/views.md).

``areas/meanings.toml`` declares their columns, with name, order and kind. This module selects
them: columns that a table has under the same name are taken from it, and the others are defined
here. ``db upgrade`` drops the views and creates them again after every migration. Columns are
added, never renamed or dropped, within a major version. No view reads a draft.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    values,
)

from worker.core.area import AREAS, ResourceArea
from worker.store.derived import is_active
from worker.store.dialects import current_time, typed, whole_days
from worker.store.runs.fact_counts import is_stale
from worker.store.schema.tables import (
    VERSIONS,
    access_log,
    change_feed,
    drift,
    person,
    person_area,
    publication_code,
    publication_cohort,
    publication_figure,
    run,
)
from worker.views import TYPES, codes, view_columns, view_name_nb

_FRESHNESS = "report_person_freshness"
_PERSON_COLUMNS = {name: person.c[name] for name in ("person_key", "local_ref", "cohort")}


class _View(NamedTuple):
    """A view.

    Attributes:
        rows: the joined tables.
        table: has the columns that are selected under their own names.
        columns: the other columns, by name.
        where: the condition for its rows.
    """

    rows: FromClause
    table: FromClause
    columns: Mapping[str, Any] = {}
    where: ColumnElement[bool] = true()


def view_definitions(dialect: str) -> Mapping[str, Select[*tuple[Any, ...]]]:
    """The SELECT of each reporting view, by its name.

    Args:
        dialect: SQLAlchemy's name of the database.
    """
    return {
        name: _select(dialect, view_columns()[name], view) for name, view in _views(dialect).items()
    }


def _select(dialect: str, columns: Sequence[Any], view: _View) -> Select[*tuple[Any, ...]]:
    sources = {**view.table.c, **view.columns}
    selected = [typed(dialect, item.kind, sources[item.name]).label(item.name) for item in columns]
    return select(*selected).select_from(view.rows).where(view.where)


def _views(dialect: str) -> Mapping[str, _View]:
    now = current_time(dialect)
    return {
        **{f"report_{area.table}_current": _current(_versions(area), now) for area in AREAS},
        **{f"report_{area.table}_history": _history(_versions(area), now) for area in AREAS},
        "report_restriction_current": _current(_all_versions(), now),
        "report_restriction_history": _history(_all_versions(), now),
        _FRESHNESS: _freshness(),
        "report_daily": _daily(),
        "report_publication": _View(run, run, where=run.c.publication_no.is_not(None)),
        "report_publication_cohort": _facts(publication_cohort),
        "report_publication_figure": _facts(publication_figure),
        "report_change_feed": _feed(),
        "report_run": _View(run, run),
        "report_access": _View(access_log, access_log),
        "report_drift": _View(drift, drift),
        "report_episode": _episode(dialect),
        "report_code": _constants("report_code", codes()),
        "report_dictionary": _constants("report_dictionary", [*_dictionary()]),
    }


# Restrictions


class _Versions(NamedTuple):
    """The versions of one area or of all."""

    table: FromClause
    area: ColumnElement[str]
    is_stale: ColumnElement[bool]


def _versions(area: ResourceArea) -> _Versions:
    return _Versions(VERSIONS[area.name], literal(area.name, Text), is_stale(area))


def _all_versions() -> _Versions:
    """The versions of every area, with the columns that all areas have.

    Each part of the UNION is one table without a join, so that PostgreSQL finds the rows of a
    person by index.
    """
    first, *others = VERSIONS.values()
    names = [column.name for column in first.c if all(column.name in t.c for t in others)]
    parts = [
        select(cast(literal(area), Text).label("area"), *(table.c[name] for name in names))
        for area, table in VERSIONS.items()
    ]
    table = parts[0].union_all(*parts[1:]).subquery("version")
    return _Versions(table, table.c.area, _is_stale_row())


def _is_stale_row() -> ColumnElement[bool]:
    # One subquery for each area: a single one that named the row's area would run for each row.
    rows = ((person_area.c.area == area.name, is_stale(area)) for area in AREAS)
    return case(*rows, else_=false())


def _restriction_columns(versions: _Versions, now: ColumnElement[Any]) -> dict[str, Any]:
    """The columns of a restriction, now and in history."""
    version = versions.table.c
    return _PERSON_COLUMNS | {
        "area": versions.area,
        "is_in_effect": is_active(version, now),
        "begins_at": version.effect_from,
        "ends_at": version.effect_until,
    }


def _current(versions: _Versions, now: ColumnElement[Any]) -> _View:
    version = versions.table
    is_read = and_(
        person_area.c.person_id == version.c.person_id, person_area.c.area == versions.area
    )
    rows = version.join(person, person.c.person_id == version.c.person_id)
    columns = {
        "last_confirmed_at": person_area.c.confirmed_at,
        "is_stale": versions.is_stale,
        "publication_no": select(func.max(run.c.publication_no)).scalar_subquery(),
    }
    return _View(
        rows.outerjoin(person_area, is_read),
        version,
        _restriction_columns(versions, now) | columns,
        version.c.closed_no.is_(None),
    )


def _history(versions: _Versions, now: ColumnElement[Any]) -> _View:
    version, opened, closed = versions.table, run.alias("opened"), run.alias("closed")
    of_version = _restriction_columns(versions, now)
    columns = {
        "is_in_effect_now": and_(version.c.closed_no.is_(None), of_version["is_in_effect"]),
        "valid_from": opened.c.published_at,
        "valid_to": closed.c.published_at,
        "opened_run": opened.c.run_id,
        "closed_run": closed.c.run_id,
        "opened_publication": version.c.opened_no,
        "closed_publication": version.c.closed_no,
        "version_no": version.c.version_id,
    }
    rows = (
        version.join(person, person.c.person_id == version.c.person_id)
        .join(opened, opened.c.publication_no == version.c.opened_no)
        .outerjoin(closed, closed.c.publication_no == version.c.closed_no)
    )
    return _View(rows, version, {**of_version, **columns})


def _episode(dialect: str) -> _View:
    """One row for each period in which a person had a restriction, from its last version.

    A period starts when the restriction was first seen. That time survives a change and retention,
    and is new if the restriction was gone and comes back. Nothing is grouped, and each part of the
    UNION is one table with the same types, so that both databases find the rows of a person by
    index.
    """
    parts = [_versions_of_periods(area) for area in AREAS]
    episode = parts[0].union_all(*parts[1:]).subquery("episode")
    closed = run.alias("closed")
    rows = person.join(episode, episode.c.person_id == person.c.person_id).outerjoin(
        closed, closed.c.publication_no == episode.c.closed_no
    )
    columns = {
        "started_at": episode.c.first_seen_at,
        "ended_at": closed.c.published_at,
        "ended_because": episode.c.closed_because,
        "ended_publication": episode.c.closed_no,
        "days": whole_days(dialect, episode.c.first_seen_at, closed.c.published_at),
    }
    # A changed version is followed by another version of the same period.
    is_last = or_(episode.c.closed_no.is_(None), episode.c.closed_because != "changed")
    return _View(rows, episode, _PERSON_COLUMNS | columns, is_last)


def _versions_of_periods(area: ResourceArea) -> Select[*tuple[Any, ...]]:
    """The versions of an area, with the number of earlier versions of the same period."""
    version, other = VERSIONS[area.name], VERSIONS[area.name].alias("other")
    key = ("person_id", "restriction_id", "first_seen_at")
    same = and_(*(other.c[name] == version.c[name] for name in key))
    # By id, which SQLite has in the index. `opened_no` would need a look-up of each row.
    earlier = select(func.count()).where(same, other.c.version_id < version.c.version_id)
    # A period starts with the version that was read when the restriction was first seen, and most
    # periods have no other version.
    is_first = version.c.observed_at == version.c.first_seen_at
    revisions = case((is_first, 0), else_=earlier.correlate(version).scalar_subquery())
    names = (*key, "is_left_censored", "closed_no", "closed_because", "source_created_at")
    return select(
        cast(literal(area.name), Text).label("area"),
        *(version.c[name] for name in names),
        version.c[area.effect.code].label("code"),
        version.c.restriction_group,
        cast(revisions, BigInteger).label("revisions"),
    )


# Persons, and changes


def _freshness() -> _View:
    """A row for each person on the roster and area that was ever read, or has failed."""
    row = person_area.c
    columns = {
        "last_confirmed_at": row.confirmed_at,
        "http_status": row.failure_status,
        "reason": row.failure_reason,
        "attempts": row.failure_attempts,
        "last_failed_at": row.failed_at,
        "is_missing": person.c.missed_no.is_not(None),
        "is_stale": _is_stale_row(),
    }
    rows = person.join(person_area, row.person_id == person.c.person_id)
    return _View(rows, person_area, _PERSON_COLUMNS | columns, person.c.departed_no.is_(None))


def _feed() -> _View:
    versions = {area.name: VERSIONS[area.name].alias(f"v{n}") for n, area in enumerate(AREAS)}
    rows: FromClause = change_feed
    for name, version in versions.items():
        is_version = and_(
            change_feed.c.area == name, version.c.version_id == change_feed.c.version_id
        )
        # The feed outlives its versions: after a purge or an erasure, these columns are NULL.
        rows = rows.outerjoin(version, is_version)

    def of_version(column_name: str) -> ColumnElement[Any]:
        return func.coalesce(*(version.c[column_name] for version in versions.values()), null())

    columns = {
        "published_at": change_feed.c.happened_at,
        "restriction_id": of_version("restriction_id"),
        "restriction_group": of_version("restriction_group"),
        "version_no": change_feed.c.version_id,
        "person_no": change_feed.c.person_id,
    }
    rows = rows.outerjoin(person, person.c.person_id == change_feed.c.person_id)
    return _View(rows, change_feed, _PERSON_COLUMNS | columns)


# Facts


def _fact_columns(facts: FromClause, publication: FromClause) -> Mapping[str, Any]:
    """The columns of facts. Their keys have an empty text where there is no cohort or group."""
    columns = {name: publication.c[name] for name in ("published_at", "day")}
    texts = [name for name in ("restriction_group", "cohort") if name in facts.c]
    return columns | {name: func.nullif(facts.c[name], "") for name in texts}


def _facts(facts: FromClause) -> _View:
    rows = facts.join(run, run.c.publication_no == facts.c.publication_no)
    return _View(rows, facts, _fact_columns(facts, run))


def _daily() -> _View:
    number = run.c.publication_no
    last_of_day = func.max(number).over(partition_by=run.c.day)
    publication = (
        select(number, run.c.published_at, run.c.day)
        .add_columns((number == last_of_day).label("is_last_of_day"))
        .add_columns((number == func.max(number).over()).label("is_last"))
        .where(number.is_not(None))
        .subquery("publication")
    )
    facts = publication_code
    languages = ("name_nb", "name_nn", "name_en")
    names = {f"code_{language}": _code_name(facts.c.code, language) for language in languages}
    flags = {name: cast(publication.c[name], Boolean) for name in ("is_last_of_day", "is_last")}
    rows = facts.join(publication, publication.c.publication_no == facts.c.publication_no)
    return _View(rows, facts, {**_fact_columns(facts, publication), **names, **flags})


def _code_name(code: ColumnElement[str], language: str) -> ColumnElement[str]:
    """The name of a restriction's code. NULL for an unknown code."""
    names = {row.code: getattr(row, language) for row in codes() if row.is_restricting is not None}
    return case(names, value=code)


# Constants


def _dictionary() -> Iterator[Sequence[object]]:
    for view, columns in view_columns().items():
        for item in columns:
            yield (
                view,
                item.name,
                item.kind.value,
                item.unit,
                item.is_nullable,
                item.nb,
                item.en,
                view_name_nb(view),
                item.heading,
            )


def _constants(view: str, rows: Sequence[Sequence[object]]) -> _View:
    """Rows that the program defines. SQLite names the columns of VALUES only in a CTE."""
    names = [column(item.name, TYPES[item.kind]) for item in view_columns()[view]]
    constants = values(*names, name="constants").data([tuple(row) for row in rows]).cte("constants")
    return _View(constants, constants)
