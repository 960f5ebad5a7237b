"""``plan``: what a run would do, without doing any of it."""

import contextlib
import sqlite3

from tests.support.program import Installation, Sandbox
from tests.support.session import calls


def test_plan_counts_persons_requests_starts_and_who_would_depart(
    worker: Installation, served: Sandbox
):
    """Persons times areas at the configured rate, the deadline's starts, and the guard's verdict.

    It reads on while another process holds the database's only write lock, and writes nothing.
    """
    lines = served.lines()[:10]
    for name, roster in (("short", lines), ("bad", [*lines, "12345,x"]), ("empty", [])):
        (worker.folder / name).write_text("\n".join(("off_id,local_ref,cohort", *roster, "")))
    before = worker.store.everything()
    with contextlib.closing(sqlite3.connect(worker.store.path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        full, short, bad, empty = calls(
            worker,
            "plan --json --requests-per-second 20 --deadline 1.5s",
            "plan --json --roster short",
            "plan --json --roster bad",
            "plan --json --roster empty",
        )
        connection.rollback()
    assert worker.store.everything() == before
    found = full.document
    assert (full.code, found["requests"]["at_least"]) == (0, 60)
    assert found["duration_s"]["at_least"] == 3.0
    assert (found["deadline"]["fits"], found["deadline"]["starts"]) == (False, 3)
    assert found["guard"]["would_withhold"] == []
    assert short.document["guard"]["departing_at_least"] == 20
    assert "no longer on the roster" in " ".join(short.document["guard"]["would_withhold"])
    # With a line that cannot be read nobody departs.
    assert bad.document["roster"]["faults"] == 1
    assert bad.document["guard"]["departing_at_least"] == 0
    assert empty.code == 65
