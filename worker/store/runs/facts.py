"""The figures of a publication, counted in its transaction and never changed afterwards.

By code, cause and cohort: restrictions that are open, in effect, added, changed and removed. By
cohort and in total: persons on the roster, confirmed, stale, failing, joined and departed. And what
the report shows, divided in several ways. All of it is counted anew each time.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, TypeAlias

from sqlalchemy import Connection, Table, func, insert, select, update

from worker.areas import AREAS
from worker.store.runs.applying import Application
from worker.store.schema.tables import (
    PERSON_COUNTS,
    publication_code,
    publication_cohort,
    publication_figure,
    run,
)
from worker.store.statements import (
    COUNT_CHANGES,
    COUNT_FIGURES,
    COUNT_HOLDERS,
    COUNT_PERSONS,
    COUNT_STANDING,
    COUNT_WEEK,
    OTHER,
)

COHORTS_MAX: Final = 300
"""Maximum number of cohorts that facts name; persons of others are counted as ``OTHER``."""
_DIGITS_MAX: Final = 9
"""An organisation number has nine digits, an identifier eleven, and a pseudonym some forty."""
_CHARACTERS_MAX: Final = 200
_STANDING: Final = ("open", "in_effect", "persons", "persons_in_effect")
_CHANGES: Final = {"insert": "added", "update": "changed", "close": "removed"}

Counts: TypeAlias = dict[tuple[str, ...], dict[str, int]]
"""Counts by column, by the key of a row without its publication; the last part is the cohort."""


def write_facts(application: Application, *, seq: int, joined: Mapping[str, int]) -> None:
    """Write the facts of a run that is being published, after everything was applied.

    Args:
        seq, joined: see ``Application.apply``.
    """
    connection, number = application.connection, application.number
    people = _people(application, joined)
    rosters = {cohort: counts["roster"] for (cohort,), counts in people.items()}
    named = _name_cohorts(connection, number, rosters)
    people = _by_named(people, named)
    _write(connection, publication_code, number, _by_named(_codes(application, seq), named))
    _write(connection, publication_cohort, number, people)
    _write(connection, publication_figure, number, _by_named(_figures(application), named))
    totals = {name: sum(counts[name] for counts in people.values()) for name in PERSON_COUNTS}
    connection.execute(update(run).where(run.c.run_id == application.run_id).values(totals))


def _people(application: Application, joined: Mapping[str, int]) -> Counts:
    people: Counts = defaultdict(lambda: dict.fromkeys(PERSON_COUNTS, 0))
    for row in application.rows(COUNT_PERSONS).mappings():
        counts = {name: int(value) for name, value in row.items() if name != "cohort"}
        people[row["cohort"],] |= counts | {"confirmed": counts["roster"] - counts["stale"]}
    for cohort, count in joined.items():
        people[cohort,]["joined"] = count
    for cohort, count in application.rows(COUNT_HOLDERS):
        people[cohort,]["persons_in_effect"] = count
    return people


def _codes(application: Application, seq: int) -> Counts:
    columns = (*_STANDING, *_CHANGES.values())
    codes: Counts = defaultdict(lambda: dict.fromkeys(columns, 0))
    for area in AREAS:
        for *key, open_, does, persons, holders in application.rows(COUNT_STANDING, area):
            values = zip(_STANDING, (open_, does, persons, holders), strict=True)
            codes[area.name, *key] |= {name: int(value) for name, value in values}
        changes = COUNT_CHANGES.replace("{seq}", str(seq))
        for op, *key, count in application.rows(changes, area):
            codes[area.name, *key][_CHANGES[op]] += count
    return codes


def _figures(application: Application) -> Counts:
    return {
        tuple(key): {"restrictions": restrictions, "persons": persons}
        for statement in (COUNT_FIGURES, COUNT_WEEK)
        for *key, restrictions, persons in application.rows(statement)
    }


def _by_named(counts: Counts, named: frozenset[str]) -> Counts:
    """The counts by the names that the facts have for cohorts."""
    merged: Counts = defaultdict(lambda: defaultdict(int))
    for (*key, cohort), values in counts.items():
        for name, value in values.items():
            merged[*key, cohort if cohort in named else OTHER][name] += value
    return merged


def _write(connection: Connection, table: Table, number: int, counts: Counts) -> None:
    names = table.primary_key.columns.keys()
    rows = [
        dict(zip(names, (number, *key), strict=True)) | values
        for key, values in sorted(counts.items())
        if any(values.values())
    ]
    if rows:
        connection.execute(insert(table), rows)


def _name_cohorts(
    connection: Connection, number: int, rosters: Mapping[str, int]
) -> frozenset[str]:
    """Choose the cohorts that a publication names; it counts the others as ``OTHER``.

    A named cohort stays named as long as it has persons. New cohorts are added up to
    ``COHORTS_MAX``, the largest first.

    Args:
        rosters: persons on the roster by cohort.
    """
    last = select(func.max(publication_cohort.c.publication_no)).where(
        publication_cohort.c.publication_no < number
    )
    before = frozenset(
        connection.execute(
            select(publication_cohort.c.cohort).where(
                publication_cohort.c.publication_no == last.scalar_subquery()
            )
        ).scalars()
    )
    named = before - {"", OTHER}
    new = sorted(
        (cohort for cohort in rosters if cohort not in before and _may_be_named(cohort)),
        key=lambda cohort: (-rosters[cohort], cohort),
    )[: max(0, COHORTS_MAX - len(named))]
    return named | {"", *new}


def _may_be_named(cohort: str) -> bool:
    return (
        cohort not in ("", OTHER)
        and len(cohort) <= _CHARACTERS_MAX
        and sum(map(str.isdigit, cohort)) <= _DIGITS_MAX
    )
