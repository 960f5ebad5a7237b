"""One database, one PTS: another is refused before anybody is asked (promise 12)."""

from pathlib import Path

import pytest

from tests.support.made_databases import BOTH
from tests.support.program import Installation
from tests.support.standin import Standin, person, persons
from tests.support.standin import standin as another_standin

pytestmark = pytest.mark.promise("12")

PERSONS = 5


def published(standin: Standin, folder: Path, url: str) -> Installation:
    """A worker after a good night."""
    persons(standin, range(PERSONS), safeties=2, privacies=2)
    worker = standin.install(folder, url)
    assert worker.sync().code == 0
    standin.asked.clear()
    return worker


def tables(worker: Installation) -> dict[str, object]:
    """Every row but the lease's, which each start takes."""
    found = worker.store.everything()
    return {name: rows for name, rows in found.items() if name != "lease"}


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_the_database_of_another_pts(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """Refused before anybody is asked; no hint leads to both in one history."""
    worker = published(standin, tmp_path, database_url)
    before = tables(worker)
    with another_standin() as other:
        person(other, PERSONS + 1, safeties=1)
        other.install(tmp_path, database_url)
        ended = worker.sync()
        assert (ended.code, other.asked) == (78, []), ended.story()
        assert "filled from another PTS" in worker.run("doctor").out
    assert "--accept-removals" not in ended.out + ended.err
    assert tables(worker) == before


def test_an_address_that_nobody_answered_at(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """It has filled nothing, so that mending a mistyped address is all that is needed."""
    person(standin, 0, safeties=1)
    worker = standin.install(tmp_path, sqlite_url)
    base_url = worker.settings["api"]["base_url"]
    worker.configure(api={"base_url": "http://127.0.0.1:9"})
    assert worker.sync().code == 69
    worker.configure(api={"base_url": base_url})
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    assert worker.store.one("SELECT service FROM store_identity") in standin.origin


def test_the_same_pts_at_a_new_address(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """`--accept-service` notes it once, and from then on the old address is another PTS."""
    worker = published(standin, tmp_path, sqlite_url)
    worker.store.rows("UPDATE store_identity SET service = 'pts.example'")
    assert worker.sync().code == 78
    assert worker.sync("--accept-service").code == 0
    assert worker.sync().code == 0
    assert worker.store.one("SELECT service FROM store_identity") in standin.origin
