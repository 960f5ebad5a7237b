"""Whom to read: files, standard input, queries; leading zeros, duplicates, bad lines."""

import re
from pathlib import Path

import pytest

from tests.support.program import BATCH_PERSONS, Installation
from tests.support.secrecy.canaries import Secrets, spaced
from tests.support.secrecy.nights import database_bytes
from tests.support.standin import SAFETY, Standin, off_id_of, person, persons
from worker.sync.producer import CHUNK_PERSONS

PERSONS = 10


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    persons(standin, range(PERSONS), safeties=1)
    return standin.install(tmp_path, sqlite_url)


def everyone_was_read_once(standin: Standin) -> None:
    assert {(off_id, SAFETY) for off_id in standin.people} <= set(standin.count())
    assert set(standin.count().values()) == {1}


@pytest.mark.parametrize("command", ["sync", "backfill --person -"])
def test_a_first_line_that_is_a_person_is_repeated_nowhere(
    worker: Installation, command: str
) -> None:
    """A file without a header: neither log nor database nor status holds a cell of it."""
    line = b"Ola Nordmann;17\nKari Nordmann;18\n"
    (worker.folder / "roster.csv").write_bytes(line)
    ended = worker.run(*command.split(), stdin=line)
    status = worker.run("status", "--json")
    assert (ended.code, status.code) == (65, 0)
    assert "line 1 has 2 columns, and none named off_id" in ended.err
    said = ended.out + ended.err + status.out + status.err
    kept = repr(worker.store.rows("SELECT * FROM run"))
    assert "none named off_id" in kept
    assert "Nordmann" not in said + kept


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (65, "sync --roster {}"),
        (65, "sync --roster a{}2"),
        (65, "backfill --roster {}"),
        (65, "--set roster.path={}-1.csv doctor"),
        (65, "--set roster.path={}.csv doctor"),
        (78, "--config a{}2 status"),
        (78, "status --set database.url=sqlite:///{}-1.csv"),
        (78, "--set tls.ca_file={} sync"),
    ],
)
def test_an_identifier_that_is_taken_for_a_file_is_repeated_nowhere(
    standin: Standin, worker: Installation, command: str, code: int
) -> None:
    """Neither a message nor a log nor the run's reason holds it, and the rest of the path stays."""
    off_id = next(iter(standin.people))
    (worker.folder / f"{off_id}.csv").write_text("off_id\n123\n", encoding="utf-8")
    ended = worker.run(*command.format(off_id).split())
    status = worker.run("status", "--json")
    places = {
        "output": ended.out,
        "log": ended.err,
        "status": status.out + status.err,
        "database": repr(worker.store.rows("SELECT * FROM run")),
    }
    assert ended.code == code
    assert "***" in ended.out + ended.err
    assert [place for place, text in places.items() if off_id in text] == []


@pytest.mark.promise("8")
def test_a_reference_or_cohort_that_is_an_identifier(
    standin: Standin, worker: Installation
) -> None:
    """It is masked, the summary says so, and no fact names it."""
    own, other = "02867599994", "01858299949"  # with right check digits
    wrong = "02867599995"
    for off_id in (own, other, wrong):
        person(standin, 0, off_id=off_id)
    worker.roster(
        f"{own},pid {spaced(own)},clinic {other}",
        f"{other},R-friend-{own}",
        f"{wrong},mine {wrong},{wrong}",
        header="off_id,local_ref,cohort,ward",
    )
    ended = worker.sync()
    assert ended.code == 0, ended.err
    columns, *_, labels = ended.run["reasons"]
    assert columns.startswith("ignored columns of the roster: ward. Only off_id, ")
    assert labels.startswith("3 persons with an identifier in local_ref or cohort")
    rows = worker.store.rows("SELECT local_ref, cohort FROM person")
    assert set(rows) == {("pid ***", "clinic ***"), ("R-friend-***", None), ("mine ***", "***")}
    named = worker.store.rows("SELECT DISTINCT cohort FROM report_publication_cohort")
    assert ("clinic ***",) in named
    secrets = Secrets(identifiers=frozenset({own, other, wrong}), keys=())
    assert secrets.identifiers_in(database_bytes(worker.store)) == set()


def test_a_person_listed_twice_is_read_once(standin: Standin, worker: Installation) -> None:
    """In any spelling, also if they were read long ago; the first line counts in both passes."""
    persons(standin, range(PERSONS, CHUNK_PERSONS + 20), privacies=1)
    again = [*standin.people][:PERSONS]
    lines = [f"{x},first\n{x[:6]} {x[6:]},again" for x in again]
    lines += [f"{x},first" for x in [*standin.people][PERSONS:]] + [f"{x},again" for x in again]
    (worker.folder / "roster.csv").write_text("\n".join(["off_id,cohort", *lines]) + "\n")
    worker.constants[BATCH_PERSONS] = 10
    ended = worker.sync()
    total = ended.run["totals"]["persons_total"]
    assert (ended.code, total) == (0, len(standin.people))
    (warning,) = (reason for reason in ended.run["reasons"] if "a different cohort" in reason)
    assert warning.startswith(f"{2 * PERSONS} lines of the roster with a different cohort")
    assert "(line 3, line 5, line 7, line 9, line 11, …): the first line" in warning
    (warning,) = (reason for reason in ended.run["reasons"] if "check digits" in reason)
    assert re.search(r" check digits \((line \d+, ){5}…\): they were sent to PTS", warning)
    everyone_was_read_once(standin)
    standin.people[again[0]][SAFETY].clear()
    assert worker.sync().run["totals"]["rows_closed"] == 1
    assert worker.store.rows("SELECT DISTINCT cohort FROM person") == [("first",)]


def test_bad_lines(standin: Standin, worker: Installation) -> None:
    """A bad line is a gap: 3, named by its line and never by its value; nobody is departed."""
    assert worker.sync().code == 0
    lost_zero, wrong = off_id_of(1)[1:], "9876543210123"
    lines = standin.lines()
    worker.roster(*lines[:4], f"{lost_zero},A", f"{wrong},B", "abc,C", *lines[6:])
    ended = worker.sync()
    assert (ended.code, ended.run["totals"]["roster_faults"]) == (3, 3)
    assert ended.run["totals"]["persons_departed"] == 0
    assert len(worker.store.ids()) == PERSONS
    for number in (6, 7, 8):
        assert f"roster.csv line {number}" in ended.err
    reason = next(one for one in ended.run["reasons"] if "of the roster" in one)
    assert "; first error in " in reason
    assert "no person was marked as departed" in reason
    assert "roster.csv line 6" in reason
    assert "a leading zero may have been lost: keep the column as text" in reason
    assert lost_zero not in ended.err + ended.out
    assert wrong not in ended.err + ended.out


def test_a_roster_of_bad_lines_does_not_fill_the_log(worker: Installation) -> None:
    """Fifty lines are named; a few hundred more are counted, and the run is withheld."""
    with (worker.folder / "roster.csv").open("a", encoding="utf-8") as roster:
        roster.writelines(f"{number},none\n" for number in range(300))
    ended = worker.sync()
    (summary,) = ended.events("run.summary")
    assert (ended.code, summary["roster_faults"]) == (5, 300)
    assert len(ended.events("roster.line_unreadable")) == 50


def test_standard_input_is_kept_for_the_second_read(standin: Standin, worker: Installation) -> None:
    """It can be read once only: who loses a restriction is asked twice all the same."""
    stdin = (worker.folder / "roster.csv").read_bytes()
    worker.configure(roster={"path": "-"})
    assert worker.sync(stdin=stdin).code == 0
    off_id = off_id_of(0)
    standin.people[off_id][SAFETY].clear()
    standin.asked.clear()
    ended = worker.sync(stdin=stdin)
    assert (ended.code, ended.run["totals"]["rows_closed"]) == (0, 1), ended.story()
    assert standin.count()[off_id, SAFETY] == 2
