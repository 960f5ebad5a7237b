"""``failures``: what could not be read, and what becomes of it."""

import re
from pathlib import Path

import pytest

from tests.support.program import Ended, Installation, Sandbox, calls
from tests.support.raw_server import http
from tests.support.standin import PRIVACY, SAFETY, Standin, persons
from tests.support.two_runs import FAILING, FAULT, failing, pseudonym

FRESHNESS = (
    "SELECT {} FROM report_person_freshness "
    f"WHERE local_ref = 'L{FAILING:07d}' AND area = 'patient-safety'"
)


@pytest.fixture(scope="module")
def ends(two_runs: Installation, served: Sandbox) -> list[Ended]:
    """What the reading commands say of a store with one failure."""
    off_id, other = failing(served), served.lines()[FAILING + 1].split(",")[0]
    return calls(
        two_runs,
        "failures list --json",
        "failures list",
        ("failures show - --json", f"{off_id}\n"),
        ("failures show --json", other),
        f"failures show {off_id}",
        f"failures show {pseudonym(served, off_id)[:6]}",
    )


@pytest.mark.promise("6")
def test_list_shows_each_open_failure(ends: list[Ended], served: Sandbox):
    """By pseudonym: area, kind, attempts, since when, and a reason without any value."""
    everything, text, *_ = ends
    (one,) = everything.document["failures"]
    key = pseudonym(served, failing(served))
    assert (one["person_key"], one["local_ref"]) == (key, f"L{FAILING:07d}")
    assert (one["attempts"], one["runs"]) == (2, 1)
    assert one["first_at"] == one["last_at"] > "2026"
    assert "500" in one["reason"]
    at = f"{one['last_at'][:10]} {one['last_at'][11:16]}"
    table, lines = text.out.split("\n\n")
    assert table.split("\n")[0].split() == ["area", "kind", "persons", "since", "UTC", "reason"]
    (row,) = table.splitlines()[1:]
    assert re.split("  +", row) == ["patient-safety", "transient", "1", at, one["reason"]]
    (row,) = lines.splitlines()[1:]
    expected = [f"L{FAILING:07d}", "patient-safety", "transient", "2", "1", *at.split()]
    assert (text.code, row.split()) == (0, [*expected, *one["reason"].split()])
    assert max(map(len, lines.splitlines())) <= 80


@pytest.mark.promise("6")
def test_many_failures_are_a_table(standin: Standin, tmp_path: Path, sqlite_url: str):
    """By area, kind and reason; one line each below twenty, or with ``--all``; two filters."""
    persons(standin, range(24), safeties=1, privacies=1)
    worker = standin.install(tmp_path, sqlite_url)
    people = list(standin.people)
    for off_id in people[:12]:
        without = [{**standin.people[off_id][SAFETY][0], "patientSafetyObject": None}]
        standin.people[off_id][SAFETY] = without
    for off_id in people[:8]:
        standin.script[off_id, PRIVACY] = lambda _: http({}, status="400 Bad Request")
    assert worker.sync("--set", "sync.first_min_completeness=0").code == 3
    long_ago = "UPDATE person_area SET failing_since = '2026-01-02T03:04:05.000000+00:00' WHERE"
    failed = f"area = '{SAFETY}' AND failure_kind IS NOT NULL"
    first = f"(SELECT min(person_id) FROM person_area WHERE {failed})"
    worker.store.rows(f"{long_ago} {failed} AND person_id = {first}")
    many, every, some, none, listed = calls(
        worker,
        "failures list",
        "failures list --all",
        "failures list --area patient-privacy --kind rejected",
        "failures list --area patient-safety --kind rejected",
        "failures list --kind contract --json",
    )
    rows = [re.split("  +", line) for line in many.out.splitlines()[1:3]]
    counts = [[area, kind, reason, number] for area, kind, number, _, reason in rows]
    reason = "no person at the declared path; declare `person = []` if records name no person"
    place = f"{reason} (at [].patientSafetyObject.person.offId)"
    assert counts == [
        ["patient-safety", "contract", place, "12"],
        ["patient-privacy", "rejected", "status 400", "8"],
    ]
    assert [row[3] == "2026-01-02 03:04" for row in rows] == [True, False]
    assert (len(many.out.splitlines()), "--all" in many.out) == (5, True)
    assert [len(ended.out.splitlines()) for ended in (every, some)] == [5 + 20, 4 + 8]
    assert every.out.count("2026-01-02 03:04") == 2, "of the group and of the person"
    assert none.out == "failures: none\n"
    assert {one["kind"] for one in listed.document["failures"]} == {"contract"}
    assert len(listed.document["failures"]) == 12


@pytest.mark.promise("6")
def test_what_keeps_failing(worker: Installation, served: Sandbox):
    """It never blocks the others, is tried again in every run, and is shown stale with its age.

    The first good answer takes it off the list.
    """
    worker.configure(sync={"retry_attempts": 2})
    before = worker.store.current()
    confirmed = worker.store.one(FRESHNESS.format("last_confirmed_at"))
    since = worker.store.one(FRESHNESS.format("failing_since"))
    try:
        for generation, runs in ((18, 2), (20, 3)):
            served.control(generation=generation, faults=[FAULT], clear=True)
            ended = worker.sync("--accept-removals")
            assert (ended.code, ended.run["failures"]) == (3, {"transient": 1})
            assert served.control()["faults_struck"] == [6]  # two attempts in each pass
            assert worker.store.stale() <= {f"L{FAILING:07d}"}
            assert worker.store.one(FRESHNESS.format("failed_runs")) == runs
            assert worker.store.one(FRESHNESS.format("last_confirmed_at")) == confirmed
            assert worker.store.one(FRESHNESS.format("failing_since")) == since
        ends, text = calls(
            worker, ("explain --json", failing(served)), ("explain", failing(served))
        )
        served.control(faults=[])
        assert worker.sync("--accept-removals").code == 0
    finally:
        served.control(generation=15, faults=[])
    (area,) = (one for one in ends.document["areas"] if one["area"] == "patient-safety")
    assert (area["is_stale"], area["failed_runs"], area["failure_kind"]) == (True, 3, "transient")
    assert re.search("is stale +yes", text.out)
    assert worker.store.current() != before  # the others moved on
    assert worker.store.stale() == set()
    (left,) = calls(worker, "failures list --json")
    assert left.document["failures"] == []


@pytest.mark.promise("8")
def test_show_takes_the_identifier_from_standard_input(ends: list[Ended], served: Sandbox):
    """It is never printed. As an argument it is refused, for it would stand in the process list."""
    everything, by_identifier, other = ends[0], *ends[2:4]
    assert everything.document == by_identifier.document
    assert (other.code, other.document["failures"]) == (0, [])
    assert [one.code for one in ends[4:]] == [2, 2]
    assert "standard input" in ends[4].err
    assert [one for one in ends if failing(served) in one.out + one.err] == []


@pytest.mark.promise("8")
def test_a_plain_store_prints_no_identifier(worker: Installation, served: Sandbox):
    """Where keys are identifiers, the person's row number stands for them, or nothing does.

    Persons are counted all the same.
    """
    off_id = failing(served)
    worker.store.rows("UPDATE store_identity SET identity = 'plain', key_check = ''")
    worker.store.rows(f"UPDATE person SET person_key = '{off_id}' WHERE local_ref = 'L0000003'")
    failure = (
        "failure_kind, failure_reason, failure_attempts, failed_runs, failing_since, failed_at"
    )
    others = "SELECT person_id FROM person WHERE local_ref IN ('L0000004', 'L0000005')"
    worker.store.rows(
        f"UPDATE person_area SET ({failure}) = (SELECT {failure} FROM person_area "
        f"WHERE failure_kind IS NOT NULL) WHERE area = 'patient-safety' AND person_id IN ({others})"
    )
    worker.configure(privacy={"identity": "plain"})
    ends, shown, text, explained = calls(
        worker,
        "failures list --json",
        ("failures show - --json", off_id),
        "failures list",
        ("explain --json", off_id),
    )
    assert [one["person_key"] for one in ends.document["failures"]] == [None] * 3
    assert len(shown.document["failures"]) == 1
    assert "L0000003 patient-safety" in text.out
    assert re.split("  +", text.out.splitlines()[1])[2] == "3", "persons"
    found = explained.document
    assert (found["is_known"], found["person_key"], found["local_ref"]) == (True, None, "L0000003")
    assert off_id not in "".join(one.out + one.err for one in (ends, shown, text, explained))
