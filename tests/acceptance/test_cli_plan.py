"""``plan``: what a run would do, without doing any of it."""

import contextlib
import re
import sqlite3

import pytest

from tests.support.leases import run_under_way
from tests.support.program import Ended, Installation, Sandbox
from tests.support.session import calls, other_key


@pytest.fixture(scope="module")
def plans(two_runs: Installation, served: Sandbox) -> list[Ended]:
    """The plan for the complete roster, and for others."""
    lines = served.lines()[:10]
    for name, roster in (("short", lines), ("bad", [*lines, "12345,x"]), ("empty", [])):
        (two_runs.folder / name).write_text("\n".join(("off_id,local_ref,cohort", *roster, "")))
    return calls(
        two_runs,
        "plan --requests-per-second 20 --json",
        "plan",
        "plan --json --roster short",
        "plan --json --roster bad",
        "plan --json --roster empty",
        f"plan --json --set privacy.pseudonym_key_file={other_key(two_runs.folder)}",
        "plan --requests-per-second 20 --json",
        "plan --requests-per-second 20 --json --deadline 1.5s",
        "plan --requests-per-second 20 --deadline 1s",
        "plan --requests-per-second 20 --deadline 4s",
        "plan --requests-per-second 1001",
        "plan --requests-per-second 1001 --set api.engine=fast",
        "plan --requests-per-second 4001 --set api.engine=fast --json",
    )


def test_plan_counts_persons_requests_and_time(plans: list[Ended], two_runs: Installation):
    """Persons times areas, at the configured rate, and what the guard would let pass."""
    found = plans[0].document
    # The second run tried its failing area twice, and read again what lacked a restriction.
    again = two_runs.store.one("SELECT count(*) FROM person_area WHERE first_digest IS NOT NULL")
    assert again > 0
    assert (60, 61 + again) == (found["requests"]["at_least"], found["requests"]["expected"])
    assert found["duration_s"] == {"at_least": 3.0, "expected": (61 + again) / 20}
    current = sum(
        two_runs.store.one(f"SELECT count(*) FROM report_{area}_current")
        for area in ("patient_safety", "patient_privacy")
    )
    assert tuple(
        found["guard"][name]
        for name in ("open_restrictions", "persons_known", "departing_at_least", "would_withhold")
    ) == (current, 30, 0, [])
    assert "30 (duplicates counted)" in plans[1].out


def test_plan_counts_the_starts(plans: list[Ended]):
    """61 requests at 20 a second: 3.05 s."""
    none, some, words, enough = (ended for ended in plans[6:10])
    assert none.document["deadline"] == {
        "deadline_s": None,
        "fits": True,
        "starts": 1,
        "continue_within_s": 43_200.0,
    }
    assert tuple(some.document["deadline"][name] for name in ("deadline_s", "fits", "starts")) == (
        1.5,
        False,
        3,
    )
    sentence = " ".join(words.out.split())
    assert "the run needs 4 starts of 1s (sync.deadline); each must come within 12h " in sentence
    assert "the run fits 4s (sync.deadline)" in enough.out


def test_plan_warns_of_a_ceiling_above_what_the_engine_sustains(plans: list[Ended]):
    """It names the engine, its rate, and what to do; below that rate it says nothing."""
    assert (
        "httpx sustains some 1,000 requests a second on one core; try api.engine" in plans[10].out
    )
    assert "sustains" not in plans[11].out
    assert plans[12].document["engine"] == {"name": "fast", "sustained_per_s": 4000}


def test_plan_sees_a_roster_cut_short(plans: list[Ended]):
    """Before the run it says that the guard would withhold it."""
    guard = plans[2].document["guard"]
    assert guard["departing_at_least"] == 20
    assert "no longer on the roster" in " ".join(guard["would_withhold"])


def test_plan_counts_bad_lines(plans: list[Ended]):
    """A line that cannot be read is a gap, and with one of them nobody departs."""
    found = plans[3].document
    assert tuple(found["roster"][name] for name in ("entries", "faults")) == (10, 1)
    assert found["guard"]["departing_at_least"] == 0
    assert re.search(r"bad line \d+: .*11 digits", found["roster"]["first_fault"])


def test_plan_ends_as_a_run_would(plans: list[Ended]):
    """No identifier at all is 65, another pseudonym key than the store's is 78."""
    assert (plans[4].code, plans[5].code) == (65, 78)
    assert "not the key" in plans[5].message


def test_plan_writes_nothing_and_waits_for_nobody(worker: Installation):
    """It reads on while another process holds the database's only write lock."""
    before = worker.store.everything()
    with contextlib.closing(sqlite3.connect(worker.store.path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        ended = worker.run("plan")
        connection.rollback()
    assert (0, before) == (ended.code, worker.store.everything())
    assert ended.took_s < 15  # a writer would wait 20 s for the lock


async def test_plan_counts_what_an_open_run_has_read(worker: Installation):
    """A run that would be continued has fewer requests left."""
    async with run_under_way(worker):
        worker.store.rows(
            "UPDATE person_area SET run_id = 3 WHERE person_id IN "
            "(SELECT person_id FROM person_area WHERE is_complete GROUP BY person_id "
            "HAVING count(*) = 2 LIMIT 5)"
        )
        plans = worker.run("plan").document
    assert tuple(
        plans["continues"][name] for name in ("run_id", "persons_read", "person_areas_read")
    ) == (3, 5, 10)
    assert plans["requests"]["at_least"] == 50
