"""What the design promises and the program does not keep yet.

Each test names the issue that keeps it; a test that passes is an error, so that its mark goes.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import Installation
from tests.support.raw_server import Reply, http
from tests.support.standin import PRIVACY, Answerer, Ask, Standin, person, ref_of
from tests.support.standin import standin as another_standin

PERSONS = 40
DRAFTS = pytest.mark.xfail(strict=True, raises=AssertionError, reason="issue 28 (drafts)")
TROUBLE_S = 8.0
"""Longer than the program takes for a false verdict; less than its ten seconds of waiting."""


def filled(standin: Standin, folder: Path, url: str, persons: int = PERSONS) -> Installation:
    """A worker of persons with two restrictions in either area, on its first night."""
    for number in range(persons):
        person(standin, number, safeties=2, privacies=2)
    return standin.install(folder, url, patience="10m")


def published(standin: Standin, folder: Path, url: str) -> Installation:
    """The same after that night."""
    worker = filled(standin, folder, url)
    assert worker.sync().code == 0
    standin.asked.clear()
    return worker


def for_a_while(trouble: Answerer) -> Answerer:
    """Answer so from the first request on for some seconds, then with the truth."""
    began: list[float] = []

    def answer(ask: Ask) -> Reply:
        began.append(time.monotonic())
        return trouble(ask) if began[-1] - began[0] < TROUBLE_S else http(ask.records)

    return answer


@DRAFTS
@pytest.mark.promise("1")
def test_a_part_of_pts_without_records_for_some_seconds(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Nobody loses a restriction: the second read comes later than the trouble lasts."""
    worker = published(standin, tmp_path, sqlite_url)
    before, part = worker.store.ids(), list(standin.people)[:3]
    for off_id in part:
        standin.script[off_id, ""] = for_a_while(lambda _: http([]))
    ended = worker.sync()
    assert (ended.code, worker.store.ids()) == (3, before), ended.story()
    assert ended.run["failures"] == {"unstable": 2 * len(part)}


@DRAFTS
@pytest.mark.promise("1")
def test_a_roster_that_lacks_a_ward_for_a_night(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Nobody departs, and the summary says how many were not named; a second such night counts."""
    worker = published(standin, tmp_path, sqlite_url)
    before, ward = worker.store.ids(), {ref_of(off_id) for off_id in list(standin.people)[:3]}
    worker.roster(*standin.lines()[3:])
    ended = worker.sync()
    assert (ended.code, worker.store.ids()) == (0, before), ended.story()
    assert any("3 persons" in reason for reason in ended.run["reasons"])
    assert worker.sync().code == 0
    assert worker.store.ids() == {one for one in before if one[0] not in ward}


@pytest.mark.promise("6")
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
    worker = published(standin, tmp_path, sqlite_url)
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


@pytest.mark.promise("6")
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
    worker.configure(sync={"deadline": "12s"})
    struck = list(standin.people)[PERSONS // 4]
    later = http(status="429 Too Many Requests", headers=[f"Retry-After: {wait_s}"])
    standin.script[struck, PRIVACY] = lambda ask: (
        later if standin.count()[struck, PRIVACY] == 1 else http(ask.records)
    )
    ended = worker.sync()
    assert (ended.code, holds(standin, struck)) == (code, True), ended.story()


@DRAFTS
@pytest.mark.promise("12")
def test_the_database_of_another_pts(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Refused before anybody is asked; no hint leads to both in one history."""
    worker = published(standin, tmp_path, sqlite_url)
    before = worker.store.everything()
    with another_standin() as other:
        person(other, PERSONS + 1, safeties=1)
        other.install(tmp_path, sqlite_url)
        ended = worker.sync()
        assert (ended.code, other.asked) == (78, []), ended.story()
    assert "--accept-removals" not in ended.out + ended.err
    assert worker.store.everything() == before


@pytest.mark.promise("6")
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
