"""A world before and after a night, and what an open run has read of it."""

from tests.support.program import Installation
from tests.support.standin import (
    Standin,
    person,
)

PERSONS = 60


def first_world(standin: Standin) -> None:
    for number in range(PERSONS):
        person(standin, number, safeties=number % 3 + 1, privacies=number % 2)


def settled(worker: Installation) -> set[tuple[str, str]]:
    """Areas that the open run has read completely and committed, by local reference."""
    return set(
        worker.store.rows(
            "SELECT d.local_ref, a.area FROM draft d JOIN run r ON r.run_id = d.run_id "
            "JOIN draft_area a ON a.run_id = d.run_id AND a.person_id = d.person_id "
            "WHERE r.status IN ('running', 'interrupted') AND a.state = 'complete'"
        )
    )
