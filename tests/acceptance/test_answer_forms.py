"""A removal needs an answer that has the form of the others (promise 1)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_two_reads import FIRST, ids_of
from tests.support.program import Installation, wait_for
from tests.support.raw_server import Reply, http
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Answerer,
    Ask,
    Standin,
    off_id_of,
    person,
)

pytestmark = pytest.mark.promise("1")

PROVED = (
    "SELECT count(*) FROM person_area WHERE area = 'patient-safety' "
    "AND run_id = (SELECT max(run_id) FROM run)"
)


def enveloped(ask: Ask, *, left_out: int = 0, **said: object) -> Reply:
    """The records but for some, in an object with other fields."""
    return http({"items": ask.records[left_out:], "kilder": "alle", **said})


def first_night(
    standin: Standin,
    folder: Path,
    database_url: str,
    answer: Answerer = enveloped,
    *,
    others: int = 2,
    **sync: object,
) -> Installation:
    """A worker after a night of 12 persons: one with two restrictions, the others with so many."""
    for number in range(12):
        person(standin, number, safeties=others if number else 2)
        standin.script[off_id_of(number), SAFETY] = answer
    worker = standin.install(folder, database_url, **sync)
    assert worker.sync().code == 0
    return worker


@pytest.mark.parametrize(
    ("sign", "usual"),
    [
        ({"exceededTransferLimit": True}, {"exceededTransferLimit": False}),
        ({"deler": [{"navn": "A", "svarte": True}, {"navn": "B", "svarte": False}]}, {}),
        ({"limit": 1}, {"limit": 100}),
    ],
    ids=str,
)
def test_a_field_that_only_the_closing_answer_has_is_no_evidence(
    standin: Standin,
    tmp_path: Path,
    sqlite_url: str,
    sign: dict[str, Any],
    usual: dict[str, Any],
) -> None:
    """Whatever it means. What all answers say closes as ever, and a named field means nothing."""
    worker = first_night(standin, tmp_path, sqlite_url, lambda ask: enveloped(ask, **usual))
    standin.script[FIRST, SAFETY] = lambda ask: enveloped(ask, left_out=1, **sign)
    standin.script[off_id_of(1), SAFETY] = lambda ask: enveloped(ask, left_out=1, **usual)
    ended = worker.sync()
    assert (ended.code, ended.run["failures"]) == (3, {"unstable": 1})
    assert (len(ids_of(worker, FIRST)), len(ids_of(worker, off_id_of(1)))) == (2, 1)
    failure = worker.run("failures", "list").document["failures"][0]
    assert next(iter(sign)) in failure["reason"]
    worker.configure(**{f"areas.{SAFETY}.paging": {"ignore": list(sign)}})
    ignoring = worker.sync()
    assert ignoring.code == 0, ignoring.err
    assert len(ids_of(worker, FIRST)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda ask: enveloped(ask, left_out=1, utelattKilde=True),
        lambda ask: enveloped(replace(ask, records=2 * ask.records[1:]), total=2),
    ],
    ids=["another field", "a record twice"],
)
def test_the_only_person_with_records(
    standin: Standin, tmp_path: Path, sqlite_url: str, answer: Answerer
) -> None:
    """Nobody else's answer has records, so it is compared with empty ones."""
    worker = first_night(standin, tmp_path, sqlite_url, others=0)
    standin.script[FIRST, SAFETY] = answer
    ended = worker.sync("--accept-removals")
    assert (ended.code, ended.run["failures"]) == (3, {"unstable": 1})
    assert len(ids_of(worker, FIRST)) == 2


def test_a_continued_run_compares_as_well(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """A start that has only the doubtful person left asks for others whom it need not read."""
    worker = first_night(standin, tmp_path, sqlite_url)
    standin.heard.clear()
    standin.script[FIRST, SAFETY] = lambda ask: enveloped(ask, left_out=1, utelatt=True)
    running = worker.start("sync")
    wait_for(
        lambda: len({one.off_id for one in standin.heard if one.area == PRIVACY}) == 12,
        "everybody's first read",
    )
    wait_for(lambda: worker.store.one(PROVED) == 11, "all others are written")
    running.kill()
    running.wait()
    ended = worker.sync()
    assert (ended.code, ended.run["failures"]) == (3, {"unstable": 1})
    assert len(ids_of(worker, FIRST)) == 2


def test_forms_count_where_every_change_is_confirmed(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """`sync.confirm = changes`, on a night on which every record has changed."""
    worker = first_night(standin, tmp_path, sqlite_url, confirm="changes")
    for number in range(12):
        for record in standin.people[off_id_of(number)][SAFETY]:
            record["confidentialityCode"] = "NORN"
    standin.script[FIRST, SAFETY] = lambda ask: enveloped(ask, left_out=1, utelatt=True)
    ended = worker.sync()
    assert (ended.code, ended.run["failures"]) == (3, {"unstable": 1})
    assert len(ids_of(worker, FIRST)) == 2
