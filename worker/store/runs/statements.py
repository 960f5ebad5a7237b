# ruff: noqa: S608 - the texts in these statements are declared, and the numbers are the store's own
"""The statements of a publication that are text: its facts and its change feed.

As SQLAlchemy Core they are large expressions, which each process builds and compiles anew for its
one publication: at 1,000 persons that took 65 ms of processor time, as long as all the rest of the
publication. They are SQL for both databases. In all of them ``p`` is the person and ``v`` the
version.
"""

import string
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.effect import in_effect_sql, instant_sql
from worker.core.value import Value
from worker.store.runs.cohorts import OTHER

FEED_COLUMNS: Final = (
    "publication_no",
    "happened_at",
    "op",
    "area",
    "version_id",
    "person_id",
)

_DIGITS_MAX: Final = 4
_CHARACTERS_MAX: Final = 32


class PublishedRun(Value, frozen=True, kw_only=True):
    """A published run: its id, publication number and time."""

    run_id: int
    number: int
    at: datetime


class Moment(Value, frozen=True, kw_only=True):
    """A publication at which is counted, by which cohort of a person, and added or not."""

    run: PublishedRun
    cohort: str
    sign: int


def cohort_sql(*, before: int | None = None) -> str:
    """The published cohort of a person; empty if there is none.

    Args:
        before: as published before this run.
    """
    hidden = "publication_no IS NULL" + (f" OR run_id = {before}" if before is not None else "")
    return (
        f"COALESCE(CASE WHEN p.local_ref_run IN (SELECT run_id FROM run WHERE {hidden}) "
        "THEN p.prev_cohort ELSE p.cohort END, '')"
    )


def relabelled_sql(run_id: int) -> str:
    """A condition: this run's publication changes the label of a person."""
    return (
        f"p.local_ref_run = {run_id} AND p.first_run <> {run_id} AND ("
        "COALESCE(p.local_ref, '') <> COALESCE(p.prev_local_ref, '') "
        "OR COALESCE(p.cohort, '') <> COALESCE(p.prev_cohort, ''))"
    )


def closed_areas_sql(run_id: int) -> str:
    """Of each area, whether the run has closed a version."""
    closed = (
        f"EXISTS (SELECT 1 FROM {area.table}_version WHERE closed_run = {run_id})" for area in AREAS
    )
    return f"SELECT {', '.join(closed)}"


def feed_sql(published: PublishedRun, closing: Collection[str]) -> str:
    """Write what a publication changed.

    Args:
        closing: the areas in which it closed a version; in others nothing is an update.
    """
    run_id = published.run_id
    parts = []
    for area in AREAS:
        op = "'insert'"
        if area.name in closing:
            is_replaced = _counterpart(area, "opened_run", run_id)
            closed = f"v.closed_run = {run_id} AND NOT {is_replaced}"
            parts.append(_feed_part(1, "'close'", area, closed))
            replaces = _counterpart(area, "closed_run", run_id)
            op = f"CASE WHEN {replaces} THEN 'update' ELSE 'insert' END"
        parts.append(_feed_part(2, op, area, f"v.opened_run = {run_id}"))
    person = "CAST(NULL AS TEXT) AS area, CAST(NULL AS BIGINT) AS version_id, p.person_id"
    parts += [
        f"SELECT 3 AS step, 'depart' AS op, {person} FROM person p WHERE p.departed_run = {run_id}",
        f"SELECT 4 AS step, 'relabel' AS op, {person} FROM person p WHERE {relabelled_sql(run_id)}",
    ]
    return (
        f"INSERT INTO change_feed ({', '.join(FEED_COLUMNS)}) "
        f"SELECT {published.number}, {instant_sql(published.at)}, op, area, version_id, person_id "
        f"FROM ({' UNION ALL '.join(parts)}) AS changes "
        "ORDER BY step, area DESC, version_id, person_id"
    )


def _feed_part(step: int, op: str, area: ResourceArea, condition: str) -> str:
    return (
        f"SELECT {step} AS step, {op} AS op, '{area.name}' AS area, v.version_id, v.person_id "
        f"FROM {area.table}_version v WHERE {condition}"
    )


def _counterpart(area: ResourceArea, column: str, run_id: int) -> str:
    return (
        f"EXISTS (SELECT 1 FROM {area.table}_version w WHERE w.person_id = v.person_id "
        f"AND w.restriction_id = v.restriction_id AND w.{column} = {run_id})"
    )


def standing_sql(moments: Sequence[Moment], touched: str) -> str:
    """What is open at publications by code, level, cause and cohort.

    Args:
        touched: what ``touched_sql`` gives, to count these persons alone; or empty.
    """
    return _with(touched, [_standing(area, one, touched) for one in moments for area in AREAS])


def holders_sql(moments: Sequence[Moment], touched: str) -> str:
    """Persons with a restriction in effect at publications, by cohort.

    Args:
        touched: see ``standing_sql``.
    """
    return _with(touched, [_holders(one, touched) for one in moments])


def _with(touched: str, parts: Sequence[str]) -> str:
    return (f"WITH touched AS ({touched}) " if touched else "") + " UNION ALL ".join(parts)


def _standing(area: ResourceArea, moment: Moment, touched: str) -> str:
    """What is open at a publication by code, level, cause and cohort."""
    does = in_effect_sql(area.effect, "v", instant_sql(moment.run.at))
    return (
        f"SELECT {moment.sign}, '{area.name}', code, level, cause, {moment.cohort}, SUM(amount), "
        "SUM(does), COUNT(*), SUM(CASE WHEN does > 0 THEN 1 ELSE 0 END) FROM ("
        f"SELECT {code_columns(area)}, v.person_id, COUNT(*) AS amount, "
        f"SUM(CASE WHEN {does} THEN 1 ELSE 0 END) AS does FROM {_published(area, moment, touched)} "
        "GROUP BY 4, 1, 2, 3) AS persons JOIN person p ON p.person_id = persons.person_id "
        "GROUP BY 3, 4, 5, 6"
    )


def _holders(moment: Moment, touched: str) -> str:
    """Persons with a restriction in effect, by cohort."""
    parts = [
        f"SELECT v.person_id FROM {_published(area, moment, touched)} "
        f"AND {in_effect_sql(area.effect, 'v', instant_sql(moment.run.at))}"
        for area in AREAS
    ]
    return (
        f"SELECT {moment.sign}, {moment.cohort}, COUNT(*) FROM ({' UNION '.join(parts)}) AS "
        "holders JOIN person p ON p.person_id = holders.person_id GROUP BY 2"
    )


def _published(area: ResourceArea, moment: Moment, touched: str) -> str:
    """The rows of an area that readers saw at a publication."""
    number = moment.run.number
    return (
        f"{area.table}_version v "
        f"JOIN run o ON o.run_id = v.opened_run AND o.publication_no <= {number} "
        "LEFT JOIN run c ON c.run_id = v.closed_run "
        f"WHERE (c.publication_no IS NULL OR c.publication_no > {number})"
        + (" AND v.person_id IN (SELECT person_id FROM touched)" if touched else "")
    )


def touched_sql(now: PublishedRun, base: PublishedRun) -> str:
    """Persons with another cohort or a restriction that changed, began or ended."""
    with_new_cohort = (
        f"SELECT person_id FROM person WHERE local_ref_run = {now.run_id} "
        "AND COALESCE(cohort, '') <> COALESCE(prev_cohort, '')"
    )
    parts = [with_new_cohort]
    for area in AREAS:
        table = f"{area.table}_version"
        parts += [
            f"SELECT person_id FROM {table} WHERE {column} = {now.run_id}"
            for column in ("opened_run", "closed_run")
        ]
        parts += [
            f"SELECT person_id FROM {table} WHERE {column} > {instant_sql(base.at)} "
            f"AND {column} <= {instant_sql(now.at)}"
            for column in (area.effect.begins, area.effect.ends)
            if column
        ]
    return " UNION ".join(parts)


def changes_sql(feed_from: int) -> str:
    """What was inserted, updated and closed, from the feed's rows after that number."""
    return " UNION ALL ".join(
        f"SELECT f.op, '{area.name}', {code_columns(area)}, {cohort_sql()} AS cohort, COUNT(*) "
        f"FROM change_feed f JOIN {area.table}_version v ON v.version_id = f.version_id "
        "JOIN person p ON p.person_id = v.person_id "
        f"WHERE f.seq > {feed_from} AND f.area = '{area.name}' GROUP BY 1, 3, 4, 5, 6"
        for area in AREAS
    )


def code_columns(area: ResourceArea) -> str:
    """The columns ``code``, ``level`` and ``cause`` of a row ``v`` of the area's versions.

    Facts stay for ever, so that no text of PTS's may stand in them: what does not look like a code,
    and a cause that PTS does not document, is counted as ``OTHER``. It is so in SQL, before persons
    are counted: who has two unknown codes is one person with another code.

    One that the area does not have is empty. A code has at most 32 letters, digits, points, hyphens
    and low lines, the first a letter, with at most four digits.
    """
    effect = area.effect
    code, level, cause = map(_text, (effect.code, effect.level, effect.cause))
    known = ", ".join(f"'{one}'" for one in ("", *effect.causes))
    return (
        f"{_as_code(code)} AS code, {_as_code(level)} AS level, "
        f"CASE WHEN {cause} IN ({known}) THEN {cause} ELSE '{OTHER}' END AS cause"
    )


def _text(column: str) -> str:
    return f"COALESCE(v.{column}, '')" if column else "''"


def _as_code(text: str) -> str:
    if text == "''":
        return text
    without_digits = text
    for digit in string.digits:
        without_digits = f"replace({without_digits}, '{digit}', '')"
    return (
        f"CASE WHEN length({text}) <= {_CHARACTERS_MAX} "
        f"AND ltrim(substr({text}, 1, 1), '{string.ascii_letters}') = '' "
        f"AND ltrim({text}, '{string.ascii_letters}{string.digits}_.-') = '' "
        f"AND length({text}) - length({without_digits}) <= {_DIGITS_MAX} "
        f"THEN {text} ELSE '{OTHER}' END"
    )
