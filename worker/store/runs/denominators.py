"""Persons of a publication by cohort: roster, confirmed, stale, failing, joined and departed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Text, and_, case, func, literal_column, or_, select

from worker.areas import AREAS
from worker.core.model import RunKind
from worker.store.dialects import member, members
from worker.store.runs.statements import cohort_sql
from worker.store.schema.tables import alias_of, failure, person, person_area, run

People: TypeAlias = Mapping[str, Mapping[str, int]]
"""Counts by cohort and column of ``publication_cohort``; a missing one is 0."""

_PERSON: Final = alias_of(person, "p")
_IS_HERE: Final = _PERSON.c.departed_run.is_(None)
_COHORT: Final = literal_column(cohort_sql(), Text).label("cohort")


def count_people(connection: Connection, row: Any, returned: Sequence[int]) -> People:
    """Count the persons of a publication."""
    people: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    found = _persons(connection, row, returned)
    rosters = _of_full_run(row, found) or _freshness(connection)
    for cohort, roster, stale in rosters:
        people[cohort] |= {"roster": roster, "confirmed": roster - stale, "stale": stale}
    for persons in found:
        if persons.joined or persons.departed:
            people[persons.cohort] |= {"joined": persons.joined, "departed": persons.departed}
    failing = connection.execute(
        select(_COHORT, failure.c.kind, func.count(failure.c.person_id.distinct()))
        .join_from(failure, _PERSON, _PERSON.c.person_id == failure.c.person_id)
        .where(_IS_HERE)
        .group_by(_COHORT, failure.c.kind)
    )
    for cohort, kind, amount in failing:
        people[cohort][f"failed_{kind}"] = amount
    return people


def _persons(connection: Connection, row: Any, returned: Sequence[int]) -> Sequence[Any]:
    """Persons who are here, failed in this run, joined by it and departed by it, by cohort."""
    failed = select(failure.c.person_id).where(failure.c.last_run == row.run_id)
    has_failed = _PERSON.c.person_id.in_(failed)
    is_new = _PERSON.c.first_run == row.run_id
    has_departed = _PERSON.c.departed_run == row.run_id
    has_joined = or_(is_new, member(_PERSON.c.person_id)) if returned else is_new
    counted = (
        select(
            _COHORT,
            func.count().filter(_IS_HERE).label("here"),
            func.count().filter(_IS_HERE, has_failed).label("failed"),
            func.count().filter(has_joined).label("joined"),
            func.count().filter(has_departed).label("departed"),
        )
        .where(or_(_IS_HERE, is_new, has_departed))
        .group_by(_COHORT)
    )
    return connection.execute(counted, members(returned) if returned else {}).all()


def _of_full_run(row: Any, found: Sequence[Any]) -> Sequence[tuple[str, int, int]]:
    """The roster and the stale persons of a full run that tried everybody: those who failed."""
    is_full = row.kind == RunKind.SYNC and all(f'"{area.name}"' in row.areas for area in AREAS)
    has_tried_all = sum(one.here for one in found) == row.persons_total - row.persons_departed
    if is_full and has_tried_all and sum(one.failed for one in found) == row.persons_stale:
        return [(one.cohort, one.here, one.failed) for one in found if one.here]
    return ()


def _freshness(connection: Connection) -> Sequence[tuple[str, int, int]]:
    """Persons, and those with a stale area, as ``report_person_freshness`` has them."""
    proof, latest, before = person_area.c, alias_of(run, "latest"), alias_of(run, "before")
    is_published = latest.c.publication_no.is_not(None)
    last = case(_last_full(connection), value=proof.area, else_=0)
    is_fresh = or_(
        and_(is_published, proof.is_complete, latest.c.publication_no >= last),
        and_(~is_published, proof.prev_is_complete, before.c.publication_no >= last),
    )
    persons = (
        select(proof.person_id, func.max(case((is_fresh, 0), else_=1)).label("stale"))
        .join(latest, latest.c.run_id == proof.run_id)
        .outerjoin(before, before.c.run_id == proof.prev_run_id)
        .where(or_(is_published, proof.prev_run_id.is_not(None)))
        .group_by(proof.person_id)
        .subquery("persons")
    )
    found = connection.execute(
        select(_COHORT, func.count(), func.sum(persons.c.stale))
        .join_from(persons, _PERSON, _PERSON.c.person_id == persons.c.person_id)
        .where(_IS_HERE)
        .group_by(_COHORT)
    )
    return [(cohort, roster, int(stale)) for cohort, roster, stale in found]


def _last_full(connection: Connection) -> dict[str, int]:
    """The number of the last full publication of each area; 0 if there is none."""
    last = select(func.coalesce(func.max(run.c.publication_no), 0)).where(
        run.c.kind == RunKind.SYNC
    )
    return {
        area.name: connection.execute(
            last.where(run.c.areas.contains(f'"{area.name}"'))
        ).scalar_one()
        for area in AREAS
    }
