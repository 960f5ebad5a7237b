"""Trouble with everybody for some seconds, and waits that one person is asked for.

Over real sockets; `tests/http/politeness/test_verdicts.py` has the verdicts in virtual time.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.acceptance.troubles import for_a_while
from tests.support.program import Installation
from tests.support.raw_server import http
from tests.support.standin import PRIVACY, Answerer, Standin, person

pytestmark = pytest.mark.promise("6")

PERSONS = 40


def filled(standin: Standin, folder: Path, url: str, persons: int = PERSONS) -> Installation:
    """A worker of persons with two restrictions in either area, on its first night."""
    for number in range(persons):
        person(standin, number, safeties=2, privacies=2)
    return standin.install(folder, url, patience="10m")


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda _: http(b"<html>", kind="text/html"), id="html"),
        *(
            pytest.param(lambda _, reply=reply: reply, id=name, marks=pytest.mark.nightly)
            for name, reply in {
                "json": http({"title": "maintenance"}),
                "401": http(status="401 Unauthorized"),
                "403": http(status="403 Forbidden"),
            }.items()
        ),
    ],
)
def test_maintenance_at_the_start_of_a_night(
    standin: Standin, tmp_path: Path, sqlite_url: str, trouble: Answerer
) -> None:
    """It costs seconds: `sync.patience` waits with a request in ten seconds, then goes on."""
    worker = filled(standin, tmp_path, sqlite_url)
    assert worker.sync().code == 0
    standin.asked.clear()
    before = worker.store.current()
    standin.everybody = for_a_while(trouble)
    ended = worker.sync()
    assert (ended.code, worker.store.current()) == (0, before), ended.story()
    assert set(standin.asked) == {
        (off_id, area) for off_id, areas in standin.people.items() for area in areas
    }


def last_of_all(standin: Standin, struck: str) -> bool:
    """Whether everybody else had been asked before this person was asked again."""
    again = [at for at, ask in enumerate(standin.asked) if ask == (struck, PRIVACY)][1]
    return len(set(standin.asked[:again])) == 2 * PERSONS


@pytest.mark.parametrize(
    ("wait_s", "code", "holds"),
    [
        pytest.param(9, 0, last_of_all, id="read last"),
        pytest.param(
            900,
            3,
            lambda made, struck: made.count()[struck, PRIVACY] == 1,
            id="failure",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_one_person_who_is_to_be_asked_later(
    standin: Standin,
    tmp_path: Path,
    sqlite_url: str,
    *,
    wait_s: int,
    code: int,
    holds: Callable[[Standin, str], bool],
) -> None:
    """It delays nobody else; a wait over ten seconds, when only that is left, is a failure."""
    worker = filled(standin, tmp_path, sqlite_url)
    worker.configure(sync={"deadline": "1m"})
    struck = list(standin.people)[PERSONS // 4]
    later = http(status="429 Too Many Requests", headers=[f"Retry-After: {wait_s}"])
    standin.script[struck, PRIVACY] = lambda ask: (
        later if standin.count()[struck, PRIVACY] == 1 else http(ask.records)
    )
    ended = worker.sync()
    assert (ended.code, holds(standin, struck)) == (code, True), ended.story()


@pytest.mark.parametrize(
    "status", ["400 Bad Request", pytest.param("404 Not Found", marks=pytest.mark.nightly)]
)
def test_everybody_is_rejected(
    standin: Standin, tmp_path: Path, sqlite_url: str, status: str
) -> None:
    """The request is wrong, and not the persons: 65 after a few of them."""
    worker = filled(standin, tmp_path, sqlite_url, persons=200)
    standin.everybody = lambda _: http({"title": "no"}, status=status)
    ended = worker.sync()
    assert (ended.code, len(standin.asked) <= 100) == (65, True), ended.story()
