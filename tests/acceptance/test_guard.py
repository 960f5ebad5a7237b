"""Too good to be true is withheld; an ordinary night passes, on small rosters too."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_databases import BOTH
from tests.support.program import Ended, Installation, calls
from tests.support.raw_server import http
from tests.support.standin import PRIVACY, SAFETY, Standin, person, privacy

pytestmark = pytest.mark.promise("5")


def world(standin: Standin, sizes: tuple[int, ...]) -> None:
    """One person for each size, with so many safety restrictions."""
    for number, size in enumerate(sizes):
        person(standin, number, safeties=size)


def night(worker: Installation, *arguments: str) -> tuple[Ended, dict[str, Any], dict[str, Any]]:
    """A run, and what readers saw before and after."""
    before = worker.store.published()
    ended = worker.sync(*arguments)
    return ended, before, worker.store.published()


@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1), *(pytest.param(one, marks=pytest.mark.nightly) for one in ((2,), (0, 3, 0, 2, 1)))],
    ids=str,
)
def test_nothing_of_anybody_is_withheld(
    standin: Standin, tmp_path: Path, sqlite_url: str, sizes: tuple[int, ...]
) -> None:
    """`[]` for everybody is 5 on any roster, leaves no trace, and heals by itself.

    The reason stands in the ledger, for readers of the store, and `status` shows it.
    """
    world(standin, sizes)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    standin.everybody = lambda _: http([])
    ended, before, after = night(worker)
    assert (ended.code, ended.run["status"]) == (5, "withheld")
    assert after == before
    (reason, *_) = ended.run["reasons"]
    assert "--accept-removals" in " ".join(ended.run["reasons"])
    written = "SELECT reason FROM run WHERE status = 'withheld'"
    assert reason in str(worker.store.one(written))
    status, text = calls(worker, "status --json", "status")
    assert reason in str(status.document["runs"][0]["reason"])
    assert reason in text.out
    assert "reads were discarded" in text.out
    assert "--accept-removals" not in text.out, (
        "the page comes first: too few reads cannot be accepted"
    )

    standin.everybody = None
    ended, before, after = night(worker)
    assert (ended.code, ended.run["totals"]["rows_opened"]) == (0, 0)
    assert after == before


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_a_roster_cut_in_half(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """The first such night is withheld; once accepted, the second departs those who are missing.

    `status` shows a few restrictions that would go, unless a monitor asks. After an erasure it has
    no trace of the person.
    """
    world(standin, (1, 0, 2, 0, 1, 0, 1, 0, 2, 0))
    worker = standin.install(tmp_path, database_url)
    assert worker.sync().code == 0
    lines = standin.lines()
    worker.roster(*lines[:5])
    ended, before, after = night(worker)
    assert (ended.code, after) == (5, before)
    assert any("5 of 10 persons are missing" in reason for reason in ended.run["reasons"])
    status, text = calls(worker, "status --json", "status")
    withheld = status.document["withheld"]
    (area,) = withheld["areas"]
    examples = {row["restriction_id"] for row in area["examples"]}
    assert (area["area"], area["removed"], len(examples)) == (SAFETY, 3, 2)
    assert (withheld["missing"], len(withheld["missing_examples"])) == (5, 5)
    assert examples <= {*text.out.split()}
    for duration in ("36h", "0s"):
        (monitor,) = calls(worker, f"status --max-age {duration}")
        assert not examples & {*monitor.out.split()}
    assert "5 of 10 persons are missing from the roster: " in text.out
    assert worker.run("erase", stdin=[*standin.people][8].encode()).code == 0
    withheld = worker.run("status").document["withheld"]
    assert [len(area["examples"]) for area in withheld["areas"]] == [1]
    assert len(withheld["missing_examples"]) == 4
    ended, _, _ = night(worker, "--accept-removals")
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, 0)
    ended, _, _ = night(worker)
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, 4)
    assert len(worker.store.ids()) == 4


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
@pytest.mark.parametrize("damage", ["cut", "lost zeros", "unreadable"])
def test_a_damaged_roster(standin: Standin, tmp_path: Path, database_url: str, damage: str) -> None:
    """Withheld on the first night and the second. A few persons fewer are an ordinary night."""
    world(standin, (1,) * 60)
    worker = standin.install(tmp_path, database_url)
    assert worker.sync().code == 0
    lines = standin.lines()
    damaged = {
        "cut": lines[:40],
        "lost zeros": [*lines[:40], *(line[1:] for line in lines[40:])],
        "unreadable": [*lines[:40], *("?" * len(line) for line in lines[40:])],
    }
    worker.roster(*damaged[damage])
    for _ in range(2):
        ended, before, after = night(worker)
        assert (ended.code, after) == (5, before)
        first, *_, hint = ended.run["reasons"]
        bad_lines = "" if damage == "cut" else r", of which \d+ lines could not be read"
        assert re.search(rf"20 of 60 persons are missing from the roster{bad_lines} \(sync", first)
        assert "20 persons belong to persons missing from the roster: 20 in" in first
        assert ("would close" in first, "PTS" in hint) == (False, False)
        assert ("--accept-removals" in hint) == (damage == "cut")
    worker.roster(*lines[:57])
    assert worker.sync().code == 0


def test_a_first_roster_with_many_bad_lines(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """More than 5 % are withheld; the first is named, and metrics that could not be written."""
    world(standin, (1,) * 20)
    worker = standin.install(tmp_path, sqlite_url)
    for bad_lines, code in ((2, 5), (1, 3)):
        worker.roster(*standin.lines(), *["6858399649"] * bad_lines)
        worker.configure(telemetry={"textfile": "none/pts.prom"})
        ended = worker.sync("--set", "sync.first_min_completeness=0.95")
        said = " ".join(ended.run["reasons"])
        assert ended.code == code
        assert "roster.csv line 22: the identifier must be 11 digits; 10 were found; a lead" in said
        assert f"metrics: telemetry.textfile: {tmp_path}/none/pts.prom cannot be written" in said
        (run, *_) = worker.run("status").document["runs"]
        assert run["totals"]["persons_total"] == 20


def test_an_area_that_is_switched_on_later(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """No publication had it before: it needs a record of a hundred persons, and nearly all."""
    world(standin, (1,) * 100)
    worker = standin.install(tmp_path, sqlite_url)
    worker.configure(sync={"first_min_completeness": 0.95})
    assert worker.sync("--area", SAFETY).code == 0
    (ended,) = calls(worker, f"backfill --area {PRIVACY} --roster {worker.folder}/roster.csv")
    assert ended.code == 5, ended.story()
    ended = worker.sync()
    assert ended.code == 5
    assert ended.run["reasons"][0].endswith(f"{PRIVACY} has no record of any of 100 persons")
    for off_id in standin.people:
        standin.people[off_id][PRIVACY] = [privacy(off_id, "0")]
    for number, code in ((6, 5), (5, 3)):
        for off_id in [*standin.people][:number]:
            standin.script[off_id, PRIVACY] = lambda _: http(status="400 Bad Request")
        ended = worker.sync()
        assert ended.code == code, ended.story()
        standin.script.clear()


def test_what_is_accepted_is_what_was_withheld(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Nothing without a withheld run, or once a run is published after it; else no more than it."""
    world(standin, (1,) * 20)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    people = list(standin.people)
    withdrawn = {(off_id, ""): lambda _: http([]) for off_id in people[:8]}
    standin.script = dict(withdrawn)
    assert worker.sync("--accept-removals").code == 5
    standin.script.clear()
    assert worker.sync().code == 0
    standin.script = withdrawn
    assert worker.sync("--accept-removals").code == 5
    for off_id in people[8:]:
        standin.script[off_id, ""] = lambda _: http([])
    assert worker.sync("--accept-removals").code == 5
    ended = worker.sync("--accept-removals")
    assert (ended.code, ended.run["totals"]["rows_closed"]) == (0, 20), ended.story()
