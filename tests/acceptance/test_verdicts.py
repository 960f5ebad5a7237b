"""Verdicts about PTS need evidence: a few persons who cannot be read end no run, an outage does."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.acceptance.troubles import for_a_while
from tests.support.acceptance.two_worlds import settled
from tests.support.program import REQUEST_TIMEOUT_S, Ended, Installation, wait_for
from tests.support.raw_server import Reply, http
from tests.support.standin import Answerer, Ask, Standin, person, ref_of

pytestmark = pytest.mark.promise("6")

RATE = 300
NEVER = Reply(data=b"", before_s=600.0)
KINDS: dict[str, Answerer] = {
    "500": lambda _: http(status="500 Internal Server Error"),
    "503": lambda _: http(status="503 Service Unavailable"),
    "reset": lambda _: Reply(data=b"", then="reset"),
    "cut": lambda _: http(b"[", length=2, then="close"),
    "401": lambda _: http(
        status="401 Unauthorized", headers=['WWW-Authenticate: Bearer error="invalid_token"']
    ),
    "403": lambda _: http({"title": "no"}, status="403 Forbidden"),
    "shape": lambda _: http({"title": "maintenance"}),
    "no JSON": lambda _: http(b"maintenance", kind="text/plain"),
}


def install(made: Standin, folder: Path, url: str, persons: int, **sync: Any) -> Installation:
    """A worker with so many persons on its roster, each with one restriction, and one with two.

    In a first publication of a hundred, an area without a record is withheld.
    """
    for number in range(persons):
        person(made, number, safeties=1, privacies=int(number == persons // 2))
    assert persons == len(made.people)
    return made.install(folder, url, requests_per_second=RATE, **sync)


def published_but(
    failing: Sequence[str], ended: Ended, worker: Installation, standin: Standin
) -> None:
    """Everybody else is published."""
    said = f"{ended.out}\n{ended.err[-3000:]}"
    assert (ended.code, ended.run["status"]) == (3, "published"), said
    totals = ended.run["totals"]
    assert {name: totals[name] for name in ("persons_stale", "areas_failed")} == {
        "persons_stale": len(failing),
        "areas_failed": 2 * len(failing),
    }
    published = {ref_of(off_id) for off_id in standin.people.keys() - set(failing)}
    assert {ref for ref, _ in worker.store.ids()} == published


def test_all_that_failed_is_listed(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """As the summary of the run says; `--limit` asks for fewer."""
    worker = install(standin, tmp_path, sqlite_url, 120)
    failing = list(standin.people)[::2]
    standin.script = {(off_id, ""): KINDS["shape"] for off_id in failing}
    assert worker.sync().code == 3
    assert len(worker.run("failures", "list").document["failures"]) == 2 * len(failing)
    assert len(worker.run("failures", "list", "--limit", "7").document["failures"]) == 7


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["500", "403", "shape"])
def test_only_those_who_fail_are_left(
    standin: Standin, tmp_path: Path, sqlite_url: str, kind: str
) -> None:
    """A start that has nobody else to read asks for somebody whom an earlier one has read."""
    worker = install(standin, tmp_path, sqlite_url, 60, retry_attempts=2)
    everyone = list(standin.people)
    failing = everyone[:8]
    standin.script = {(off_id, ""): lambda _: NEVER for off_id in failing}
    worker.constants[REQUEST_TIMEOUT_S] = 120.0
    running = worker.start("sync")
    others = 2 * (len(everyone) - len(failing))
    wait_for(lambda: len(settled(worker)) == others, "all others")
    running.signal(signal.SIGTERM)
    assert running.wait().code == 75
    standin.script = {(off_id, ""): KINDS[kind] for off_id in failing}
    ended = worker.sync()
    published_but(failing, ended, worker, standin)
    again = worker.run("backfill", "--failed")
    assert (again.code, again.run["status"]) == (3, "published"), again.out
    standin.script = {(off_id, ""): KINDS[kind] for off_id in failing[1:]}
    healed = worker.run("backfill", "--failed")
    assert (healed.code, healed.run["totals"]["persons_stale"]) == (3, 7), healed.out
    assert ref_of(failing[0]) in {ref for ref, _ in worker.store.ids()}


ENDLESS = http(
    status="503 Service Unavailable", headers=["Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"]
)


@pytest.mark.parametrize("good", [0, 50], ids=["from the start", "later"])
def test_a_long_pause_ends_the_run(
    standin: Standin, tmp_path: Path, sqlite_url: str, good: int
) -> None:
    """A Retry-After beyond sync.retry_after_max is 69 at once, with its end; the lease is free."""
    worker = install(standin, tmp_path, sqlite_url, 60, patience="10m")

    def everybody(ask: Ask) -> Reply:
        return http(ask.records) if len(standin.asked) <= good else ENDLESS

    standin.everybody = everybody
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (69, "interrupted"), ended.out
    assert "until 9999-12-31T23:59:59+00:00" in ended.run["reasons"][0]
    assert len(standin.asked) - good <= 40
    assert worker.store.rows("SELECT holder FROM lease") == [(None,)]
    standin.everybody = None
    assert worker.sync().code == 0


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda _: http(b"<html>", kind="text/html"), id="html"),
        *(
            pytest.param(lambda _, reply=reply: reply, id=name, marks=pytest.mark.nightly)
            for name, reply in {
                "json": http({"title": "maintenance"}),
                "401": http(status="401 Unauthorized"),
                "403": http(status="403 Forbidden"),
            }.items()
        ),
    ],
)
def test_maintenance_at_the_start_of_a_night(
    standin: Standin, tmp_path: Path, sqlite_url: str, trouble: Answerer
) -> None:
    """It costs seconds: `sync.patience` waits with a request in ten seconds, then goes on."""
    worker = install(standin, tmp_path, sqlite_url, 40, patience="10m")
    assert worker.sync().code == 0
    standin.asked.clear()
    before = worker.store.current()
    standin.everybody = for_a_while(trouble)
    ended = worker.sync()
    assert (ended.code, worker.store.current()) == (0, before), ended.story()
    assert set(standin.asked) == {
        (off_id, area) for off_id, areas in standin.people.items() for area in areas
    }
