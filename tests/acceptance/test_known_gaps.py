"""What the design promises and the program does not keep yet.

Each test names the issue that keeps it; a test that passes is an error, so that its mark goes.
"""

from pathlib import Path

import pytest

from tests.support.acceptance.troubles import for_a_while
from tests.support.program import Installation
from tests.support.raw_server import http
from tests.support.standin import Standin, person, ref_of
from tests.support.standin import standin as another_standin

PERSONS = 40
DRAFTS = pytest.mark.xfail(strict=True, raises=AssertionError, reason="issue 28 (drafts)")


def published(standin: Standin, folder: Path, url: str) -> Installation:
    """A worker of persons with two restrictions in either area, after a good night."""
    for number in range(PERSONS):
        person(standin, number, safeties=2, privacies=2)
    worker = standin.install(folder, url)
    assert worker.sync().code == 0
    standin.asked.clear()
    return worker


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
