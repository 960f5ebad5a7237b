"""``status``: what was published, how long ago, and what is missing."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.program import Installation, Running, Sandbox, calls, wait_for


def test_status_shows_runs_freshness_gaps_and_failures(two_runs: Installation):
    """What an operator asks for in the morning."""
    (text,) = calls(two_runs, "status")
    assert text.code == 0
    assert "ago (run 2)" in text.out
    assert "patient-safety: 1 of 30 persons stale (failures: transient 1)" in text.out
    assert "run 2: 1 person-area could not be read" in text.out


def test_each_figure_stands_under_its_name(worker: Installation):
    """Each column of the table of runs shows its own total."""
    names = ("persons_total", "persons_stale", "persons_missing", "rows_opened", "rows_closed")
    numbers = ", ".join(f"{name} = {number}" for number, name in enumerate(names, 11))
    worker.store.rows(f"UPDATE run SET {numbers} WHERE run_id = 2")
    text, early = calls(worker, "status", "--json status")
    assert early.document["runs"][0]["totals"]["persons_total"] == 11  # `--json` in front
    head, row = (
        next(line.split() for line in text.out.splitlines() if line.split()[:2] == first)
        for first in (["run", "kind"], ["2", "sync"])
    )
    run_row = dict(zip(head, row, strict=True))
    figures = [run_row[name] for name in ("persons", "stale", "missing", "new", "closed")]
    assert figures == ["11", "12", "13", "14", "15"]


WORDS = (
    "persons complete stale missing departed restrictions new changed closed unchanged requests "
    "retries failures"
)
COLUMNS = (
    "persons_total persons_complete persons_stale persons_missing persons_departed rows_read "
    "rows_opened rows_changed rows_closed rows_unchanged requests retries areas_failed"
)
"""The ledger's columns of the words in a run's summary."""


def test_the_summary_of_a_run_is_that_of_the_ledger(worker: Installation, served: Sandbox):
    """Two persons are missing, one is unread and some of their restrictions have changed."""
    lines = (worker.folder / "roster.csv").read_text(encoding="utf-8").splitlines()
    fault = {"action": "status", "status": 500, "area": "patient-safety", "persons": [5]}
    served.control(generation=40, faults=[fault])
    try:
        ended = worker.call("sync --accept-removals --roster -", "\n".join(lines[:-2]))
    finally:
        served.control(faults=[])
    totals = worker.run("status").document["runs"][0]["totals"]
    summary = re.findall(r"([a-z]+) +(\d+(?:,\d{3})*)", "\n".join(ended.out.splitlines()[1:4]))
    assert summary == [
        (word, f"{totals[name]:,}")
        for word, name in zip(WORDS.split(), COLUMNS.split(), strict=True)
    ]
    assert "\n  ! " in ended.out
    apart = [(totals[name], name[:5]) for name in COLUMNS.split() if totals[name]]
    assert len(set(apart)) >= len(apart) - 1 > 9, apart


def test_sync_status_and_failures_count_the_same(worker: Installation, served: Sandbox) -> None:
    """Three persons, one of them in both areas: stale persons by run, stale areas by failure."""
    everywhere = {"action": "status", "status": 500}
    served.control(
        generation=15,
        faults=[
            everywhere | {"area": "patient-safety", "persons": [5, 6]},
            everywhere | {"area": "patient-privacy", "persons": [6, 7]},
        ],
    )
    try:
        ended = worker.run("sync", "--set", "sync.retry_attempts=1")
    finally:
        served.control(faults=[])
    status = worker.run("status").document
    failures = worker.run("failures", "list").document["failures"]
    stale = ended.run["totals"]["persons_stale"]
    assert (ended.code, stale) == (3, 3), ended.story()
    assert stale == status["runs"][0]["totals"]["persons_stale"]
    assert stale == len({failure["person_key"] for failure in failures})
    by_area = Counter(failure["area"] for failure in failures)
    assert by_area == {"patient-safety": 2, "patient-privacy": 2}
    assert by_area == {gap["area"]: gap["stale"] for gap in status["gaps"]}
    assert by_area == {failure["area"]: failure["count"] for failure in status["failures"]}


def test_the_last_full_run_and_the_last_publication_have_their_names(worker: Installation):
    """A backfill is a publication, and no full run; the report names both as ``status`` does."""
    out = worker.folder / "report.html"
    retried, ended, text, report = calls(
        worker,
        "backfill --failed --json",
        "status --json",
        "status",
        f"report --out {out} --language en --set schedule.timezone=Asia/Tokyo "
        "--set helseid.organization_parent=999977775 --set helseid.organization_child=888888888",
    )
    assert retried.run["status"] == "published"
    full, last = ended.document["freshness"], ended.document["last_publication"]
    assert (full["run_id"], last["run_id"], last["kind"]) == (2, 3, "backfill")
    first, second = text.out.splitlines()[:2]
    assert first.startswith("last full publication  ")
    assert "ago (run 2)" in first
    assert second.startswith("last publication  ")
    said = f"no {last['publication_no']} (run 3, backfill), "
    assert said in second
    assert second.partition(said)[2] in report.out
    page = out.read_text(encoding="utf-8")
    assert f"Publication no. {last['publication_no']} (" in page
    assert "Last full run published on " in page
    there = datetime.fromisoformat(last["published_at"]).astimezone(ZoneInfo("Asia/Tokyo"))
    assert f"{there:%-d\u00a0%B %Y at %H:%M}" in page
    assert "organisation number 888888888" in page


@pytest.mark.promise("6")
def test_an_old_snapshot_is_an_exit_code(worker: Installation):
    """A full run published longer ago ends with 3; a backfill does not make it younger."""
    worker.store.rows(
        "UPDATE run SET published_at = '2026-01-02T03:04:05.000000+00:00' WHERE run_id = 2"
    )
    backfill, found, text, no_unit = calls(
        worker,
        "backfill --failed --json",
        "status --max-age 36h --json",
        "status --max-age 36h",
        "status --max-age 36",
    )
    assert backfill.code == 0
    assert (found.code, found.document["freshness"]["is_fresh"]) == (3, False)
    assert text.code == 3
    assert "2026-01-02 03:04:05 UTC" in text.out
    assert "NOT FRESH" in text.out
    assert no_unit.code == 2


def test_departed_persons_are_listed_until_they_are_erased(worker: Installation, served: Sandbox):
    """By the roster's reference and the time of the departure; so is each run that is asked for."""
    roster = worker.folder / "roster.csv"
    header, gone, *rest = roster.read_text(encoding="utf-8").splitlines()
    roster.write_text("\n".join([header, *rest]), encoding="utf-8")
    worker.configure(roster={"path": str(roster)})
    assert [worker.sync().code for _ in range(2)] == [0, 0]
    listed, text, runs, explained = calls(
        worker,
        "status --departed --json",
        "status --departed",
        "status --runs 2 --json",
        ("explain --json", gone[:11]),
    )
    (person,) = listed.document["departed"]
    assert person["local_ref"] == gone.split(",")[1]
    assert person["departed_at"] == runs.document["runs"][0]["published_at"]
    assert person["departed_at"] == explained.document["departed_at"]
    assert person["local_ref"] in text.out
    assert person["departed_at"][:19].replace("T", " ") in text.out
    assert "1 person departed. Their rows stay until you run `pts-worker erase`" in text.out
    assert len(runs.document["runs"]) == 2
    assert worker.run("erase", stdin=gone[:11].encode()).code == 0
    assert worker.run("status", "--departed").document == {"departed": []}


def test_a_snapshot_of_the_future_is_not_fresh(worker: Installation):
    """A clock that was wrong once does not hide an outage."""
    worker.store.rows(
        "UPDATE run SET published_at = '2096-01-02T03:04:05.000000+00:00' WHERE run_id = 2"
    )
    (wrong,) = calls(worker, "status --max-age 36h")
    assert wrong.code == 3
    assert "in the future: check the clocks" in wrong.out


def test_a_store_without_a_publication_is_not_fresh(two_runs: Installation, sqlite_url: str):
    """Nothing published ends with 3; a missing file ends with 78, and is not made."""
    path = Path(sqlite_url.removeprefix("sqlite:///")).with_name("elsewhere.db")
    aged, plain, report, missing = calls(
        two_runs,
        f"status --max-age 36h --set database.url={sqlite_url}",
        f"status --set database.url={sqlite_url}",
        f"report --out r.html --set database.url={sqlite_url}",
        f"status --json --set database.url=sqlite:///{path}",
    )
    assert (aged.code, plain.code) == (3, 0)
    assert "never" in aged.out
    assert "nothing is published yet: run `pts-worker sync` first" in report.out
    assert (missing.code, path.exists()) == (78, False)
    assert "db upgrade" in missing.message


@pytest.fixture
def under_way(worker: Installation, served: Sandbox) -> Iterator[Running]:
    """A run to which PTS does not answer."""
    served.control(faults=[{"action": "slow", "slow_s": 30.0}], clear=True)
    running = worker.start("sync")
    wait_for(served.searches, "the first search")
    yield running
    running.kill()
    served.control(faults=[])


@pytest.mark.usefixtures("under_way")
def test_a_run_under_way_is_shown(worker: Installation):
    """The run that the next sync continues."""
    found = worker.run("status").document
    (text,) = calls(worker, "status")
    assert "run 3, status running; the next sync continues it" in text.out
    assert (found["open_run"]["run_id"], found["open_run"]["status"]) == (3, "running")
    numbers = worker.folder / "pts.prom"
    held = worker.run("sync", "--set", f"telemetry.textfile={numbers}")
    assert (held.code, numbers.exists()) == (4, False), "the numbers are those of the active run"


@pytest.mark.promise("12")
@pytest.mark.parametrize("other", [{"areas": ["patient-safety"]}, {"confirm": "changes"}])
def test_a_run_that_no_sync_continues_is_shown_as_such(
    worker: Installation, served: Sandbox, under_way: Running, other: dict[str, Any]
):
    """It began under other terms than those of the next sync: it is undone then."""
    worker.kill(under_way)
    served.control(faults=[])
    worker.configure(sync=other)
    (found,) = calls(worker, "status --json")
    assert found.document["open_run"] is None
    assert worker.sync("--accept-removals").run["continued"] is False
