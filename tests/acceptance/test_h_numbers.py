"""Identifiers of which PTS is not asked, or asked with a warning: H-numbers and wrong digits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.program import Installation, calls
from tests.support.standin import Standin, off_id_of, person, persons

OTHERS: Final = 6
H_NUMBERS: Final = ("01418012345", "31520012346", "15470012347")
RIGHT_DIGITS: Final = ("16858399649", "17912099997", "57912075186")
SEND: Final = "roster.send_h_numbers=true"


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    """In production; six persons with numbers of their own and three with H-numbers."""
    persons(standin, range(OTHERS), safeties=1)
    for off_id in H_NUMBERS:
        person(standin, 0, safeties=1, off_id=off_id)
    made = standin.install(tmp_path, sqlite_url)
    made.configure(api={"environment": "production"})
    return made


def asked(standin: Standin) -> set[str]:
    """Of whom PTS was asked since the last time."""
    found = {off_id for off_id, _ in standin.asked}
    standin.asked.clear()
    return found


def roster_line(document: Mapping[str, Any]) -> Mapping[str, str]:
    """The line of ``doctor`` about the roster."""
    return next(line for line in document["lines"] if line["name"] == "roster")


def test_production_is_not_asked(standin: Standin, worker: Installation) -> None:
    """They are no gap: exit 0; ledger, view, log and every command that reads the roster say so."""
    ended = worker.sync()
    assert ended.code == 0, ended.err
    assert asked(standin) == {off_id_of(number) for number in range(OTHERS)}
    names = ("total", "complete", "stale", "not_sent")
    totals = {name: ended.run["totals"][f"persons_{name}"] for name in names}
    assert totals == {"total": OTHERS, "complete": OTHERS, "stale": 0, "not_sent": 3}
    assert len(worker.store.current()) == OTHERS
    assert worker.store.one("SELECT persons_not_sent FROM report_run") == 3
    assert worker.store.one("SELECT count(*) FROM person") == OTHERS

    seen, listed, doctor, sending = calls(
        worker, "status --json", "status", "doctor --json", f"doctor --set {SEND}"
    )
    assert seen.document["runs"][0]["totals"]["persons_not_sent"] == 3
    assert "run 1: 3 persons not sent (H-numbers)" in listed.out
    line = roster_line(doctor.document)
    # The digits of made-up persons are a warning. H-numbers are none.
    assert line["hint"].startswith("a mistyped identifier")
    assert line["text"].startswith(f"9 persons, {2 * OTHERS} requests, ")
    assert "3 H-numbers not sent" in line["text"]
    assert f"9 persons, {2 * (OTHERS + 3)} requests, " in sending.out
    asked(standin)
    probed = worker.run("doctor", "--probe", "--person", "-", stdin=H_NUMBERS[0].encode())
    state = {line["name"]: line["state"] for line in probed.document["lines"]}
    assert (state["PTS probe"], asked(standin)) == ("FAIL", set())
    backfilled = worker.run("backfill", "--person", "-", stdin=H_NUMBERS[0].encode())
    assert (backfilled.code, backfilled.run["totals"]["persons_not_sent"]) == (0, 1)
    worker.roster(*H_NUMBERS, header="off_id")
    alone = worker.sync("--set", "sync.max_removed_share=1")
    assert (alone.code, alone.run["totals"]["persons_not_sent"]) == (0, 3), alone.story()
    assert asked(standin) == set()


def test_who_is_named_again_departs_no_sooner(standin: Standin, worker: Installation) -> None:
    """Two full rosters in a row do not name who departs; one that PTS is not asked about does."""
    without = [line for line in standin.lines() if not line.startswith(H_NUMBERS[0])]
    worker.sync("--set", SEND)
    for lines, sends in ((without, "true"), (standin.lines(), "false"), (without, "true")):
        worker.roster(*lines)
        totals = worker.sync("--set", f"roster.send_h_numbers={sends}").run["totals"]
        assert totals["persons_departed"] == 0
    assert worker.sync("--set", SEND).run["totals"]["persons_departed"] == 1


def test_a_second_read_is_not_sent_either(standin: Standin, worker: Installation) -> None:
    """A run that has read them once is continued where they are not sent."""
    twice = ("--set", "sync.confirm=changes")
    running = worker.start("sync", "--set", SEND, *twice, "--set", "sync.confirm_after=1h")
    running.until_logged("run.pass_started")
    assert (running.stop().code, len(asked(standin))) == (75, OTHERS + 3)
    assert worker.sync(*twice).run["continued"]
    assert asked(standin) == {off_id_of(number) for number in range(OTHERS)}
    assert worker.store.one("SELECT count(local_ref) FROM person") == OTHERS + 3


def test_wrong_check_digits_are_read_and_counted(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Other rules may come, so nothing is refused; but somebody may have mistyped one."""
    for off_id in RIGHT_DIGITS:
        person(standin, 0, safeties=1, off_id=off_id)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().run["reasons"] == []
    asked(standin)
    meant, *others = RIGHT_DIGITS
    mistyped = f"{meant[:-1]}{(int(meant[-1]) + 1) % 10}"
    worker.roster(mistyped, *others, header="off_id")
    ended = worker.sync()
    assert ended.code == 0, ended.err
    assert asked(standin) == {mistyped, *others}
    assert ended.run["reasons"][0].startswith("1 identifier of the roster with wrong check")
    assert worker.sync().run["totals"]["persons_departed"] == 1
    assert mistyped not in ended.err + ended.out


def test_unsent_identifiers_warn_of_nothing(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Only an identifier that is sent can ask about a different person."""
    for off_id in RIGHT_DIGITS:
        person(standin, 0, safeties=1, off_id=off_id)
    worker = standin.install(tmp_path, sqlite_url)
    worker.configure(api={"environment": "production"})
    twice = [f"{H_NUMBERS[0]},{cohort}" for cohort in ("north", "south")]
    worker.roster(*(f"{off_id}," for off_id in RIGHT_DIGITS), *twice, header="off_id,cohort")

    line = roster_line(worker.run("doctor", "--json").document)
    assert (line["state"], line["hint"]) == ("OK", "")
    assert line["text"].endswith("1 H-number not sent (roster.send_h_numbers)")
    assert worker.sync().run["reasons"] == []
    sent = roster_line(worker.run("doctor", "--json", "--set", SEND).document)
    assert "2 identifiers with wrong check digits" in sent["text"]


def test_a_repeated_person_is_not_sent_once(standin: Standin, worker: Installation) -> None:
    """A line is no person: a person on 300 lines, in two chunks of the roster, counts once."""
    worker.roster(*standin.lines(), *[f"{H_NUMBERS[0]},,"] * 300)
    ended = worker.sync()
    assert (ended.code, ended.run["totals"]["persons_not_sent"]) == (0, len(H_NUMBERS)), ended.err
