"""Verdicts about PTS need evidence: a few persons who cannot be read end no run, an outage does."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Installation
from tests.support.raw_server import Reply, http
from tests.support.standin import Answerer, Ask, Standin, person

pytestmark = pytest.mark.promise("6")

RATE = 300
NEVER = Reply(data=b"", before_s=600.0)
KINDS: dict[str, Answerer] = {
    "500": lambda _: http(status="500 Internal Server Error"),
    "403": lambda _: http({"title": "no"}, status="403 Forbidden"),
    "shape": lambda _: http({"title": "maintenance"}),
}


def install(made: Standin, folder: Path, url: str, persons: int, **sync: Any) -> Installation:
    """A worker with so many persons on its roster, each with one restriction, and one with two.

    In a first publication of a hundred, an area without a record is withheld.
    """
    for number in range(persons):
        person(made, number, safeties=1, privacies=int(number == persons // 2))
    assert persons == len(made.people)
    return made.install(folder, url, requests_per_second=RATE, **sync)


def test_all_that_failed_is_listed(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """As the summary of the run says."""
    worker = install(standin, tmp_path, sqlite_url, 120)
    failing = list(standin.people)[::2]
    standin.script = {(off_id, ""): KINDS["shape"] for off_id in failing}
    assert worker.sync().code == 3
    assert len(worker.run("failures", "list").document["failures"]) == 2 * len(failing)


ENDLESS = http(
    status="503 Service Unavailable", headers=["Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"]
)


@pytest.mark.parametrize("good", [0, 50], ids=["from the start", "later"])
def test_a_long_pause_ends_the_run(
    standin: Standin, tmp_path: Path, sqlite_url: str, good: int
) -> None:
    """A Retry-After beyond sync.retry_after_max is 69, with its end; the lease is free.

    At once if nobody was ever answered, else after sync.patience.
    """
    worker = install(standin, tmp_path, sqlite_url, 60, patience="2s" if good else "10m")

    def everybody(ask: Ask) -> Reply:
        return http(ask.records) if len(standin.asked) <= good else ENDLESS

    standin.everybody = everybody
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (69, "interrupted"), ended.out
    assert "until 9999-12-31T23:59:59+00:00" in ended.run["reasons"][0]
    assert len(standin.asked) - good <= 100
    assert worker.store.rows("SELECT holder FROM lease") == [(None,)]
    standin.everybody = None
    assert worker.sync().code == 0
