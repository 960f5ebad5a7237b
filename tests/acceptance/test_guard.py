"""Too good to be true is withheld; an ordinary night passes, on small rosters too."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Ended, Installation, sandbox
from tests.support.raw_server import http
from tests.support.standin import PRIVACY, SAFETY, Standin, off_id_of, person


def world(standin: Standin, sizes: tuple[int, ...]) -> None:
    """One person for each size, with so many safety restrictions."""
    for number, size in enumerate(sizes):
        person(standin, number, safeties=size)


def night(worker: Installation, *arguments: str) -> tuple[Ended, dict[str, Any], dict[str, Any]]:
    """A run, and what readers saw before and after."""
    before = worker.store.published()
    ended = worker.sync(*arguments)
    return ended, before, worker.store.published()


def untouched(worker: Installation, run_id: int) -> None:
    """Nothing in the database but the ledger knows of the run."""
    store = worker.store
    for table in store.tables():
        if table.startswith("report_") or table in ("run", "run_attempt"):
            continue
        for column in store.columns(table)[0]:
            if column.endswith("_run") or column == "run_id":
                found = store.one(f"SELECT COUNT(*) FROM {table} WHERE {column} = {run_id}")
                assert (table, column, 0) == (table, column, found)


@pytest.mark.promise("5")
def test_nothing_of_anybody_is_withheld(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """`[]` for everybody is 5 on a roster of three, leaves no trace, and heals by itself."""
    worker = nothing_of_anybody(standin, tmp_path, sqlite_url, (1, 1, 1))
    standin.everybody = None
    ended, before, after = night(worker)
    assert (0, before) == (ended.code, after)
    assert ended.run["totals"]["rows_opened"] == 0


@pytest.mark.parametrize("sizes", [(2,), (0, 3, 0, 2, 1)], ids=str)
def test_nothing_of_anybody_on_other_rosters(
    standin: Standin, tmp_path: Path, sqlite_url: str, sizes: tuple[int, ...]
) -> None:
    """So it is on a roster of one person with two restrictions, and on a mixed one of five."""
    nothing_of_anybody(standin, tmp_path, sqlite_url, sizes)


def nothing_of_anybody(
    standin: Standin, tmp_path: Path, database_url: str, sizes: tuple[int, ...]
) -> Installation:
    """A good night, and one on which PTS has nothing of anybody."""
    world(standin, sizes)
    worker = standin.install(tmp_path, database_url)
    assert worker.sync().code == 0
    standin.everybody = lambda _: http([])
    ended, before, after = night(worker)
    assert (5, "withheld", before) == (ended.code, ended.run["status"], after)
    assert "--accept-removals" in " ".join(ended.run["reasons"])
    untouched(worker, ended.run["run_id"])
    return worker


@pytest.mark.promise("5")
def test_three_persons_who_hold_most(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Three of thirty are few persons, but what they hold is more than half of everything."""
    world(standin, (10,) * 3 + (1,) * 27)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    for number in range(3):
        standin.people[off_id_of(number)][SAFETY].clear()
    ended, before, after = night(worker)
    assert (5, before) == (ended.code, after)
    assert "30 of 57 open restrictions of 3 persons" in " ".join(ended.run["reasons"])
    assert night(worker, "--accept-removals")[0].code == 0
    assert len(worker.store.ids()) == 27


def test_a_large_roster_stops_early(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """On a large roster the run ends long before everyone was asked."""
    world(standin, (1, 0, 2) * 130)
    worker = standin.install(tmp_path, sqlite_url, batch_persons=20)
    assert worker.sync().code == 0
    asked = len(standin.asked)
    standin.everybody = lambda _: http([])
    ended, before, after = night(worker)
    assert (5, before) == (ended.code, after)
    assert len(standin.asked) - asked < asked * 2 / 3
    untouched(worker, ended.run["run_id"])


def test_ordinary_nights_pass_on_small_rosters(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """One of three restrictions lifted, then one of two persons' last, then one person of five."""
    world(standin, (3, 1, 0, 0, 0))
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0

    standin.people[off_id_of(0)][SAFETY].pop()
    assert worker.sync().code == 0
    assert len(worker.store.ids()) == 3

    standin.people[off_id_of(1)][SAFETY].clear()
    assert worker.sync().code == 0
    assert len(worker.store.ids()) == 2

    worker.roster(*standin.lines()[1:])
    standin.people.pop(off_id_of(4))
    worker.roster(*standin.lines())
    ended = worker.sync()
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, 1)
    assert len(worker.store.ids()) == 2


def test_one_restriction_of_two_persons_lifted(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Of the two restrictions that two persons hold, one may go."""
    world(standin, (1, 1))
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    standin.people[off_id_of(1)][SAFETY].clear()
    assert worker.sync().code == 0
    assert len(worker.store.ids()) == 1


def test_a_roster_cut_in_half(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Half a roster is withheld; a person's word publishes it, and the departed are closed."""
    world(standin, (1, 0, 2, 0, 1, 0, 1, 0, 2, 0))
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    worker.roster(*standin.lines()[:5])
    ended, before, after = night(worker)
    assert (5, before) == (ended.code, after)
    untouched(worker, ended.run["run_id"])
    ended, _, _ = night(worker, "--accept-removals")
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, 5)
    assert len(worker.store.ids()) == 4


def test_one_area_gone(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """An area that has nothing of anybody is withheld although it is the smaller of the two."""
    for number in range(20):
        person(standin, number, safeties=4, privacies=number % 2)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    for off_id in standin.people:
        standin.script[off_id, PRIVACY] = lambda _: http([])
    ended, before, after = night(worker)
    assert (5, before) == (ended.code, after)


def test_a_test_environment_that_is_reset(tmp_path: Path, sqlite_url: str) -> None:
    """Its data are as at the start again: what came since is gone at once, and a person decides."""
    with sandbox(tmp_path / "served", "--persons", "60") as served:
        worker = served.install(tmp_path / "worker", sqlite_url)
        served.control(generation=30)
        assert worker.sync().code == 0
        assert served.control(reset=True)["generation"] == 0
        reset = worker.sync()
        assert (reset.code, reset.run["status"]) == (5, "withheld")
        assert worker.sync("--accept-removals").code == 0
