"""``verify``: a sample is read again and compared, and nothing at all is written."""

import hashlib
from pathlib import Path
from typing import Any

from tests.support.leases import hold_lease
from tests.support.published import Store
from tests.support.raw_server import http
from tests.support.session import calls
from tests.support.standin import PRIVACY, SAFETY, Standin, off_id_of, person, privacy, safety

PERSONS = 10


def content(store: Store) -> str:
    """Everything in the database, and the very bytes of its file."""
    return f"{store.everything()} {hashlib.sha256(store.path.read_bytes()).hexdigest()}"


def change(made: Standin, people: list[str]) -> None:
    """Let one restriction come, one go, one change, one area fail and one person be new."""
    first, second, third, fourth = people[:4]
    made.people[first][SAFETY].append(safety(first, "late"))
    del made.people[second][SAFETY][0]
    made.people[third][PRIVACY][0] = privacy(third, "0", privacyLevel="Hard")
    made.script[fourth, SAFETY] = lambda _ask: http(b"", status="500 Internal Server Error")


def differences(document: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {
        (area["area"], one["kind"]): one["person_areas"]
        for area in document["areas"]
        for one in area["differences"]
    }


def test_what_differs_is_reported_and_nothing_is_written(
    sqlite_url: str, standin: Standin, tmp_path: Path
):
    """Exit 0 if all of a sample agree, else 3 with each kind by area; beside a run as well."""
    people = [person(standin, number, safeties=2, privacies=1) for number in range(PERSONS)]
    worker = standin.install(tmp_path, sqlite_url, retry_attempts=1)
    assert worker.sync().code == 0
    before = content(worker.store)
    agreed, part = calls(worker, "verify --json", "verify --sample 5 --area patient-safety")
    assert (agreed.code, agreed.document["agree"]) == (0, 2 * PERSONS), agreed.story()
    assert part.code == 0
    assert "patient-safety: 5 of 5 agree" in part.out
    assert "patient-privacy" not in part.out
    assert content(worker.store) == before

    change(standin, people)
    worker.roster(*standin.lines(), f"{off_id_of(50)},new")
    hold_lease(worker.store)
    before = content(worker.store)
    differed, text = calls(worker, "verify --json", "verify")
    assert content(worker.store) == before
    assert (differed.code, differed.document["is_run_on"]) == (3, True), differed.story()
    assert differences(differed.document) == {
        (SAFETY, "missing_here"): 1,
        (SAFETY, "gone_there"): 1,
        (SAFETY, "unread"): 1,
        (SAFETY, "not_in_store"): 1,
        (PRIVACY, "changed"): 1,
        (PRIVACY, "not_in_store"): 1,
    }
    assert "agreement   76.19% (16 of 21 read" in text.out
    said = "".join(one.out + one.err for one in (agreed, part, differed, text))
    assert [one for one in (*people, off_id_of(50)) if one in said] == []
    assert standin.violations == []
