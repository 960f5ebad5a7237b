"""A world before and after a night, and what an open run has read of it."""

from tests.support.program import Installation
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    off_id_of,
    person,
    privacy,
    ref_of,
    safety,
)

PERSONS = 60


def first_world(standin: Standin) -> None:
    for number in range(PERSONS):
        person(standin, number, safeties=number % 3 + 1, privacies=number % 2)


def second_world(standin: Standin) -> None:
    """Some restrictions are new, some changed, some gone, and a few persons come and go."""
    for number in range(PERSONS):
        off_id = off_id_of(number)
        found = standin.people[off_id]
        if number % 5 == 0:
            found[SAFETY].append(safety(off_id, "new", confidentialityCode="NORN_DUP"))
        if number % 7 == 0:
            found[PRIVACY] = [privacy(off_id, "0", privacyLevel="Hard")]
        if number % 20 == 1:
            found[SAFETY].pop()
    standin.people.pop(off_id_of(3))
    for number in range(PERSONS, PERSONS + 4):
        person(standin, number, safeties=2)


def settled(worker: Installation) -> set[tuple[str, str]]:
    """Areas that the open run has read completely and committed, by local reference."""
    return set(
        worker.store.rows(
            "SELECT d.local_ref, a.area FROM draft d JOIN run r ON r.run_id = d.run_id "
            "JOIN draft_area a ON a.run_id = d.run_id AND a.person_id = d.person_id "
            "WHERE r.status IN ('running', 'interrupted') AND a.state = 'complete'"
        )
    )


def asked_since(standin: Standin, begin: int) -> set[tuple[str, str]]:
    """Areas that PTS was asked about since then, by local reference."""
    return {(ref_of(off_id), area) for off_id, area in standin.asked[begin:]}
