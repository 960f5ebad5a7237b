"""H-numbers belong to the organisation that assigned them: production is not asked about them."""

from pathlib import Path

import pytest

from tests.support.program import Installation
from tests.support.session import calls
from tests.support.standin import Standin, off_id_of, person, ref_of, safety

OTHERS = 6
H_NUMBERS = ("01418012345", "31520012346", "15470012347")
SEND = "roster.send_h_numbers=true"


def hospital(standin: Standin, folder: Path, database_url: str) -> Installation:
    """Six persons with numbers of their own and three with H-numbers, all with restrictions."""
    for number in range(OTHERS):
        person(standin, number, safeties=1)
    for off_id in H_NUMBERS:
        person(standin, 0, safeties=1, off_id=off_id)
    worker = standin.install(folder, database_url)
    worker.configure(api={"environment": "production"})
    return worker


def asked(standin: Standin) -> set[str]:
    """Of whom PTS was asked since the last time."""
    found = {off_id for off_id, _ in standin.asked}
    standin.asked.clear()
    return found


def test_production_is_not_asked(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """They are no gap: exit 0; ledger, view, log and every command that reads the roster say so."""
    worker = hospital(standin, tmp_path, sqlite_url)
    ended = worker.sync()
    assert ended.code == 0, ended.err
    assert {off_id_of(number) for number in range(OTHERS)} == asked(standin)
    totals = ended.run["totals"]
    assert tuple(
        totals[f"persons_{name}"] for name in ("total", "complete", "stale", "not_sent")
    ) == (OTHERS, OTHERS, 0, 3)
    assert len(worker.store.current()) == OTHERS
    assert worker.store.one("SELECT persons_not_sent FROM report_run") == 3
    assert worker.store.one("SELECT count(*) FROM person") == OTHERS
    (warning,) = ended.events("roster.h_numbers_not_sent")
    assert (warning["level"], warning["persons"]) == ("warning", 3)

    planned, in_words, seen, listed, doctor = calls(
        worker, "plan --json", "plan", "status --json", "status", "doctor --json"
    )
    roster = planned.document["roster"]
    assert tuple(roster[name] for name in ("entries", "h_numbers", "not_sent")) == (9, 3, 3)
    assert planned.document["requests"]["at_least"] == 2 * OTHERS
    assert "3; not sent to PTS" in in_words.out
    assert seen.document["runs"][0]["totals"]["persons_not_sent"] == 3
    assert "3 persons with an H-number not sent" in listed.out
    line = next(line for line in doctor.document["lines"] if line["name"] == "roster")
    assert (line["state"], line["facts"]["h_numbers"]) == ("OK", 3)
    asked(standin)
    verified = worker.run("verify")
    assert (verified.code, verified.document["roster"]["not_sent"]) == (0, 3)
    assert {off_id_of(number) for number in range(OTHERS)} == asked(standin)
    probed = worker.run("doctor", "--probe", "--person", "-", stdin=H_NUMBERS[0].encode())
    state = {line["name"]: line["state"] for line in probed.document["lines"]}
    assert ("SKIP", set()) == (state["PTS probe"], asked(standin))
    backfilled = worker.run("backfill", "--person", "-", stdin=H_NUMBERS[0].encode())
    assert (backfilled.code, backfilled.run["totals"]["persons_not_sent"]) == (0, 1)
    assert set() == asked(standin)


def test_who_was_read_before_is_stale_and_does_not_depart(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Read once with the override and not since: what is known stands, until they leave."""
    worker = hospital(standin, tmp_path, sqlite_url)
    assert worker.sync("--set", SEND).code == 0
    assert set(H_NUMBERS) < asked(standin)
    assert set() == worker.store.stale()
    for off_id in H_NUMBERS:
        standin.people[off_id] = {}
    for _ in range(2):
        ended = worker.sync()
        assert (
            ended.code,
            ended.run["totals"]["persons_departed"],
            ended.run["totals"]["persons_not_sent"],
        ) == (0, 0, 3)
        assert len(worker.store.current()) == OTHERS + 3
        assert {ref_of(off_id) for off_id in H_NUMBERS} == worker.store.stale()
    worker.roster(*(line for line in standin.lines() if not line.startswith(H_NUMBERS[0])))
    ended = worker.sync("--accept-removals")
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, 1)
    assert len(worker.store.current()) == OTHERS + 2
    # Sent again, they are read as ever.
    standin.people[H_NUMBERS[1]] = {"patient-safety": [safety(H_NUMBERS[1], "new")]}
    assert worker.sync("--set", SEND, "--accept-removals").code == 0
    assert set() == worker.store.stale()
    assert (ref_of(H_NUMBERS[1]), f"S-{ref_of(H_NUMBERS[1])}-new") in worker.store.ids()


@pytest.mark.parametrize("environment", ["test", "test-internet", None])
def test_a_test_is_asked(
    standin: Standin, tmp_path: Path, sqlite_url: str, environment: str | None
) -> None:
    """NAV's synthetic persons have the same pattern; the sandbox is on this very machine."""
    worker = hospital(standin, tmp_path, sqlite_url)
    worker.configure(api={"environment": environment})
    ended = worker.sync()
    assert (ended.code, ended.run["totals"]["persons_not_sent"]) == (0, 0)
    assert set(H_NUMBERS) < asked(standin)
    assert ended.events("roster.h_numbers_not_sent") == []


def test_a_roster_of_h_numbers_alone(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """There is nothing to ask, and that is no failure."""
    worker = hospital(standin, tmp_path, sqlite_url)
    worker.roster(*H_NUMBERS, header="off_id")
    ended = worker.sync()
    assert (
        ended.code,
        ended.run["totals"]["persons_total"],
        ended.run["totals"]["persons_not_sent"],
    ) == (0, 0, 3)


def test_doctor_warns_of_the_override(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Who sends them to production is reminded."""
    worker = hospital(standin, tmp_path, sqlite_url)
    ended = worker.run("doctor", "--set", SEND)
    line = next(line for line in ended.document["lines"] if line["name"] == "roster")
    assert line["state"] == "WARN"
    assert "another organisation" in line["hint"]
