# ruff: noqa: S608 - the texts in these statements are declared, and the numbers are the store's own
"""Persons of a publication by cohort: roster, confirmed, stale, failing, joined and departed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection

from worker.areas import AREAS
from worker.core.model import RunKind
from worker.store.runs.cohorts import cohort_sql

People: TypeAlias = Mapping[str, Mapping[str, int]]
"""Counts by cohort and column of ``publication_cohort``; a missing one is 0."""

_IDS_PER_QUERY: Final = 500


def count_people(connection: Connection, row: Any, returned: Sequence[int]) -> People:
    """Count the persons of a publication."""
    people: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for cohort, roster, stale in _roster(connection, row):
        people[cohort] |= {"roster": roster, "confirmed": roster - stale, "stale": stale}
    persons = [
        ("joined", f"person p WHERE p.first_run = {row.run_id}"),
        ("departed", f"person p WHERE p.departed_run = {row.run_id}"),
    ]
    for start in range(0, len(returned), _IDS_PER_QUERY):
        ids = ", ".join(map(str, returned[start : start + _IDS_PER_QUERY]))
        persons.append(("joined", f"person p WHERE p.person_id IN ({ids})"))
    for column, rows in persons:
        for cohort, amount in _by_cohort(connection, rows).items():
            people[cohort][column] += amount
    failed = connection.exec_driver_sql(
        f"SELECT {cohort_sql()}, f.kind, COUNT(DISTINCT f.person_id) FROM failure f "
        "JOIN person p ON p.person_id = f.person_id AND p.departed_run IS NULL GROUP BY 1, 2"
    )
    for cohort, kind, amount in failed:
        people[cohort][f"failed_{kind}"] = int(amount)
    return people


def people_before_facts(connection: Connection, row: Any) -> dict[str, int]:
    """The known counts of a run that was published before facts were kept, from its totals."""
    joined = connection.exec_driver_sql(
        f"SELECT COUNT(*) FROM person WHERE first_run = {row.run_id}"
    ).scalar_one()
    found = {"joined": int(joined), "departed": int(row.persons_departed)}
    if row.kind == RunKind.SYNC:
        found |= {
            "roster": row.persons_total - row.persons_departed,
            "confirmed": row.persons_complete,
            "stale": row.persons_stale,
        }
    return found


def _roster(connection: Connection, row: Any) -> list[tuple[str, int, int]]:
    """Persons, and persons with a stale area, by cohort.

    After a full run that tried everybody, the stale ones are those with a failure of that run.
    """
    if row.kind == RunKind.SYNC and all(f'"{area.name}"' in row.areas for area in AREAS):
        rosters = _by_cohort(connection, "person p WHERE p.departed_run IS NULL")
        stale = _by_cohort(
            connection,
            f"(SELECT DISTINCT person_id FROM failure WHERE last_run = {row.run_id}) AS failed "
            "JOIN person p ON p.person_id = failed.person_id AND p.departed_run IS NULL",
        )
        has_tried_all = sum(rosters.values()) == row.persons_total - row.persons_departed
        if has_tried_all and sum(stale.values()) == row.persons_stale:
            return [(cohort, found, stale.get(cohort, 0)) for cohort, found in rosters.items()]
    counted = connection.exec_driver_sql(_roster_sql(connection))
    return [(cohort, int(roster), int(stale)) for cohort, roster, stale in counted]


def _by_cohort(connection: Connection, persons: str) -> dict[str, int]:
    rows = connection.exec_driver_sql(f"SELECT {cohort_sql()}, COUNT(*) FROM {persons} GROUP BY 1")
    return {cohort: int(amount) for cohort, amount in rows}


def _roster_sql(connection: Connection) -> str:
    """Persons, and those with a stale area, as ``report_person_freshness`` has them."""
    last = {
        area.name: connection.exec_driver_sql(
            "SELECT COALESCE(MAX(publication_no), 0) FROM run WHERE kind = 'sync' "
            f"AND areas LIKE '%\"{area.name}\"%'"
        ).scalar_one()
        for area in AREAS
    }
    cases = " ".join(f"WHEN '{area}' THEN {number}" for area, number in last.items())
    return (
        f"SELECT {cohort_sql()}, COUNT(*), SUM(stale) FROM (SELECT pa.person_id, MAX(CASE "
        "WHEN pr.publication_no IS NOT NULL AND pa.is_complete "
        f"AND pr.publication_no >= CASE pa.area {cases} ELSE 0 END THEN 0 "
        "WHEN pr.publication_no IS NULL AND pa.prev_is_complete "
        f"AND pp.publication_no >= CASE pa.area {cases} ELSE 0 END THEN 0 ELSE 1 END) AS stale "
        "FROM person_area pa JOIN run pr ON pr.run_id = pa.run_id "
        "LEFT JOIN run pp ON pp.run_id = pa.prev_run_id "
        "WHERE pr.publication_no IS NOT NULL OR pa.prev_run_id IS NOT NULL "
        "GROUP BY pa.person_id) AS persons "
        "JOIN person p ON p.person_id = persons.person_id AND p.departed_run IS NULL GROUP BY 1"
    )
