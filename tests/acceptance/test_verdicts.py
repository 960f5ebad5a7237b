"""Verdicts about PTS need evidence: a few persons who cannot be read end no run, an outage does."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.acceptance.two_worlds import settled
from tests.support.program import Ended, Installation, wait_for
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
CODES = {"no JSON": 69, "503": 69, "reset": 69, "401": 77, "403": 77, "shape": 65}
PLACES: dict[str, Callable[[int, int], range]] = {
    "head": lambda _, failing: range(failing),
    "tail": lambda persons, failing: range(persons - failing, persons),
    "spread": lambda persons, failing: range(persons // failing - 1, persons, persons // failing),
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


@pytest.mark.parametrize(
    ("kind", "place", "persons", "failing", "sync"),
    [
        ("403", "head", 100, 8, {"concurrency": 2}),
        pytest.param("cut", "head", 60, 3, {"retry_attempts": 3}, marks=pytest.mark.nightly),
        pytest.param("503", "tail", 300, 8, {"retry_attempts": 5}, marks=pytest.mark.nightly),
        pytest.param("reset", "spread", 100, 8, {}, marks=pytest.mark.nightly),
    ],
)
def test_a_few_persons_end_no_run(
    standin: Standin,
    tmp_path: Path,
    sqlite_url: str,
    *,
    kind: str,
    place: str,
    persons: int,
    failing: int,
    sync: dict[str, int],
) -> None:
    """Persons who fail for ever cost their own areas, whatever is wrong and wherever they stand."""
    worker = install(standin, tmp_path, sqlite_url, persons, **sync)
    everyone = list(standin.people)
    struck = [everyone[number] for number in PLACES[place](persons, failing)]
    standin.script = {(off_id, ""): KINDS[kind] for off_id in struck}
    ended = worker.sync()
    assert standin.violations == []
    published_but(struck, ended, worker, standin)


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
    running = worker.start("sync", "--set", "sync.request_timeout_s=120")
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


def test_a_long_pause_for_one_person(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """If others are answered it is that person's failure, without a second attempt."""
    worker = install(standin, tmp_path, sqlite_url, 12)
    struck = list(standin.people)[5]
    standin.script = {(struck, ""): lambda _: ENDLESS}
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (3, "published"), ended.out
    assert ended.run["totals"]["persons_stale"] == 1
    assert sum(off_id == struck for off_id, _ in standin.asked) == 1
    assert len(worker.store.ids()) == 11
