"""Runs over some persons, and the program that stays up."""

from pathlib import Path

import pytest

from tests.support.held import held_run
from tests.support.made_databases import MakeDatabase
from tests.support.program import Installation, calls
from tests.support.raw_server import http
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    off_id_of,
    person,
    persons,
    ref_of,
    safety,
)
from tests.support.standin import standin as serve

PERSONS = 12


def installed(standin: Standin, folder: Path, database_url: str) -> Installation:
    persons(standin, range(PERSONS), safeties=1)
    return standin.install(folder, database_url)


@pytest.fixture(scope="module")
def snapshot(make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database after a run in which one person's one area could not be read."""
    with serve() as standin:
        made = installed(standin, tmp_path_factory.mktemp("first"), make_sqlite())
        standin.script[off_id_of(5), SAFETY] = lambda _: http(b"{}")
        assert made.sync().code == 3
    return made.database_url


@pytest.fixture
def worker(
    standin: Standin, tmp_path: Path, make_sqlite: MakeDatabase, snapshot: str
) -> Installation:
    """A worker on the day after that run."""
    return installed(standin, tmp_path, make_sqlite(like=snapshot))


def test_some_persons(standin: Standin, worker: Installation) -> None:
    """`--person -` and `--roster` read those named and nobody else; nobody is departed."""
    for number in (1, 2):
        off_id = off_id_of(number)
        standin.people[off_id][SAFETY].append(safety(off_id, "new"))
    ended = worker.run("backfill", "--person", "-", stdin=f"{off_id_of(1)}\n".encode())
    # One person is still stale from the night before, but not this run's business.
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, 0)
    assert {off_id for off_id, _ in standin.asked} == {off_id_of(1)}
    assert len(worker.store.ids()) == PERSONS - 1 + 1
    # The list names nobody's reference: the roster's stays.
    assert worker.store.one("SELECT count(*) FROM person WHERE local_ref IS NULL") == 0

    standin.asked.clear()
    (worker.folder / "some.csv").write_text(f"off_id\n{off_id_of(2)}\n", encoding="utf-8")
    ended = worker.run("backfill", "--roster", "some.csv", "--area", SAFETY)
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, 0)
    assert standin.asked == [(off_id_of(2), SAFETY)]
    assert len(worker.store.ids()) == PERSONS + 1
    # Nor does the next full run see anything amiss.
    assert worker.sync().code == 0
    assert len(worker.store.ids()) == PERSONS + 2


def test_what_failed(standin: Standin, worker: Installation) -> None:
    """`--failed` reads the areas with an open failure, and clears it; a second one reads none."""
    ended = worker.run("backfill", "--failed")
    assert ended.code == 0, ended.out
    assert standin.asked == [(off_id_of(5), SAFETY)]
    assert len(worker.store.ids()) == PERSONS
    failing = "SELECT COUNT(*) FROM report_person_freshness WHERE failure_kind IS NOT NULL"
    assert worker.store.one(failing) == 0
    standin.asked.clear()
    again = worker.run("backfill", "--failed")
    assert (again.code, standin.asked, again.run["totals"]["persons_total"]) == (0, [], 0)
    assert (
        again.run["status"],
        again.run["reasons"],
    ) == ("abandoned", ["nothing to read, so nothing was published"])
    assert [status for status, _ in worker.store.runs()] == ["published"] * 2 + ["abandoned"]


def test_nobody_to_read_and_a_bad_line(standin: Standin, worker: Installation) -> None:
    """A line that cannot be read may name a person who failed: not 0, but 2."""
    assert worker.run("backfill", "--failed").code == 0
    standin.asked.clear()
    worker.roster(*standin.lines(), "abc,X")
    ended = worker.run("backfill", "--failed")
    assert (ended.code, standin.asked, ended.run["status"]) == (2, [], "abandoned")
    assert "1 line of the roster could not be read" in ended.run["reasons"][1]
    assert "departed" not in ended.run["reasons"][1]


def test_a_person_on_no_roster(standin: Standin, worker: Installation) -> None:
    """They are published, and the summary names the consequence. A known person has none."""
    new = person(standin, PERSONS)
    stdin = f"{new}\n{off_id_of(1)}\n".encode()
    reasons = [
        reason
        for words in ("--roster -", "--roster -")
        for reason in worker.run("backfill", *words.split(), stdin=stdin).run["reasons"]
        if "roster of a full run" in reason
    ]
    assert len(reasons) == 1
    assert reasons[0].startswith("1 new person, not yet on the roster of a full run")


@pytest.mark.parametrize("command", ["backfill --failed", "sync"])
def test_an_interrupted_backfill_keeps_its_code(
    standin: Standin, worker: Installation, command: str
) -> None:
    """It begins anew, and says so. The next run abandons it and continues nothing.

    `status` still shows why it ended.
    """
    text = "\n".join(standin.people).encode()
    failed = held_run(standin, worker, "backfill", "--person", "-", answers=3, stdin=text).stop()
    assert "start the backfill again" in failed.out + failed.err
    assert "continues" not in failed.out + failed.err
    before = worker.run("status").document
    assert (before["open_run"], before["runs"][0]["status"]) == (None, "interrupted")
    following = worker.run(*command.split())
    assert (following.code, following.run["continued"]) == (0, False)
    after = worker.run("status").document["runs"][1]
    assert (failed.code, after["status"], after["exit_code"]) == (75, "abandoned", 75)
    assert after["reason"] == before["runs"][0]["reason"] != ""


@pytest.mark.parametrize(
    "command", ["backfill --failed", "backfill --failed --area patient-safety"]
)
def test_failures_of_a_withheld_first_night(
    standin: Standin, tmp_path: Path, sqlite_url: str, command: str
) -> None:
    """Nobody is known yet, so there is nobody to read again: nothing is published, and not 0."""
    worker = installed(standin, tmp_path, sqlite_url)
    worker.configure(sync={"first_min_completeness": 0.95})
    for number in range(PERSONS // 2):
        standin.script[off_id_of(number), SAFETY] = lambda _: http(b"{}")
    assert worker.sync().code == 5
    standin.script.clear()
    standin.asked.clear()
    ended = worker.run(*command.split())
    assert (ended.code, standin.asked, ended.run["status"]) == (2, [], "abandoned")
    assert ended.run["reasons"][1:] == [
        f"{PERSONS // 2} open failures of persons that were never published",
        "run `pts-worker sync`, which reads all persons",
    ]
    assert worker.run("backfill", "--failed", "--area", PRIVACY).code == 0, "no such failure"
    assert worker.store.runs() == [("withheld", 5), ("abandoned", 2), ("abandoned", 0)]
    assert worker.sync().code == 0


def test_what_is_stale(standin: Standin, worker: Installation) -> None:
    """`--stale-for` reads what was not confirmed for so long, and persons who never were."""
    never = person(standin, PERSONS)
    worker.roster(*standin.lines())
    ended = worker.run("backfill", "--stale-for", "1h")
    assert ended.code == 0, ended.out
    assert set(standin.asked) == {(off_id_of(5), SAFETY), (never, SAFETY), (never, PRIVACY)}
    standin.asked.clear()
    worker.store.rows(
        "UPDATE person_area SET confirmed_at = '2026-01-02T03:04:05.000000+00:00' "
        f"WHERE area = '{PRIVACY}'"
    )
    assert worker.run("backfill", "--stale-for", "1h", "--area", PRIVACY).code == 0
    assert set(standin.asked) == {(off_id, PRIVACY) for off_id in standin.people}


@pytest.mark.promise("3")
def test_a_killed_backfill_of_failures(standin: Standin, worker: Installation) -> None:
    """What a withheld run could not read stays listed, and the next backfill reads it all."""
    failing = list(standin.people)[:8]
    for off_id in failing:
        standin.script[off_id, ""] = lambda _: http(b"{}")
    assert worker.sync().code == 5
    listed = worker.run("failures", "list").document["failures"]
    assert len(listed) == 2 * len(failing)
    standin.script.clear()
    worker.kill(held_run(standin, worker, "backfill", "--failed", answers=4))
    assert worker.run("failures", "list").document["failures"] == listed
    standin.asked.clear()
    ended = worker.run("backfill", "--failed")
    assert ended.code == 0, ended.story()
    assert {off_id for off_id, _ in standin.asked} == set(failing)
    assert worker.run("failures", "list").document["failures"] == []


def test_a_mass_removal_in_a_backfill(standin: Standin, worker: Installation) -> None:
    """A backfill that would close very much is withheld as well, until a person accepts it.

    `status` names the command to repeat, and `failures` also lists its failed reads. A `sync`
    accepts nothing of it.
    """
    before = worker.store.ids()
    standin.everybody = lambda _: http([])
    for number in (5, 6):
        standin.script[off_id_of(number), SAFETY] = lambda _: http(b"{}")
    text = "\n".join(standin.people).encode()
    ended = worker.run("backfill", "--person", "-", stdin=text)
    assert ended.code == 5, ended.out
    failures, status = calls(worker, "failures list --json", "status")
    runs = {each["local_ref"]: each["runs"] for each in failures.document["failures"]}
    assert runs == {ref_of(off_id_of(5)): 2, ref_of(off_id_of(6)): 1}
    assert "Another `backfill` reads its persons again" in status.out
    assert "restrictions would be removed, for example" in status.out
    standin.script.clear()
    assert worker.sync("--accept-removals").code == 5
    assert worker.store.ids() == before
    accepted = worker.run("backfill", "--person", "-", "--accept-removals", stdin=text)
    assert accepted.code == 0, accepted.out
    assert worker.store.ids() == set()
    assert "Another `" not in worker.call("status").out


IN_JANUARY = ("--cron", "0 0 1 1 *")


def test_the_schedule_outlives_a_failure(standin: Standin, worker: Installation) -> None:
    """Nor does one that cannot even begin. Standard input, a roster for one run, is refused."""
    standin.everybody = lambda _: http(status="403 Forbidden")
    running = worker.start("schedule", "--now", *IN_JANUARY, "--timezone", "Asia/Tokyo")
    running.until_logged("schedule.waiting")
    assert running.stop().code == 0
    assert worker.store.runs()[1] == ("interrupted", 77)
    refused = worker.run("schedule", "--now", "--set", "roster.path=-")
    assert (refused.code, "roster.path: each run" in refused.message) == (78, True)

    (worker.folder / "pseudonym.key").write_bytes(bytes(48))
    running = worker.start("schedule", "--now", *IN_JANUARY)
    running.until_logged("schedule.run_failed")
    assert running.stop().code == 0


def test_a_schedule_stopped_within_a_run(standin: Standin, worker: Installation) -> None:
    """SIGTERM within a run ends both; the next keeps what was read and adds its requests.

    A backfill between them leaves the run open. The next run warns once about each line that gives
    a person another cohort, although a resumed run reads the roster twice, half the persons each.
    """
    ended = held_run(standin, worker, "schedule", "--now", *IN_JANUARY, answers=6).stop()
    assert ended.code == 0, ended.story()
    assert worker.store.runs()[1] == ("interrupted", 75)
    before = worker.store.one("SELECT requests FROM run WHERE status = 'interrupted'")
    backfill = worker.run("backfill", "--person", "-", stdin=next(iter(standin.people)).encode())
    assert backfill.code == 0, backfill.story()
    standin.asked.clear()
    worker.constants["worker.sync.producer.CHUNK_PERSONS"] = 1
    worker.roster(*standin.lines(), *(f"{off_id},,another" for off_id in standin.people))
    run = worker.sync().run
    assert (run["continued"], run["totals"]["requests"]) == (True, before + len(standin.asked))
    assert f"{PERSONS} lines of the roster with a different cohort" in str(run["reasons"])


def test_the_schedule_continues_an_open_run(standin: Standin, worker: Installation) -> None:
    """A run that a reboot left open is continued at the start, not in the next night."""
    worker.kill(held_run(standin, worker, "sync", answers=14))
    for _ in range(2):  # the second time nothing is open
        running = worker.start("schedule", *IN_JANUARY)
        running.until_logged("schedule.waiting")
        assert running.stop().code == 0
        assert worker.store.runs()[1:] == [("published", 0)]
