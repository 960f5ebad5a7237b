"""Verdicts about PTS need evidence: a few persons who cannot be read end no run, an outage does."""

from pathlib import Path

import pytest

from tests.support.raw_server import http
from tests.support.standin import Standin, person

PERSONS = 60
ENDLESS = http(
    status="503 Service Unavailable", headers=["Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"]
)


@pytest.mark.promise("6")
def test_a_long_pause_ends_the_run(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """A Retry-After beyond sync.retry_after_max is 69, with its end; the lease is free."""
    for number in range(PERSONS):
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, sqlite_url, requests_per_second=300, patience="10m")
    standin.everybody = lambda _: ENDLESS
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (69, "interrupted"), ended.out
    assert "until 9999-12-31T23:59:59+00:00" in ended.run["reasons"][0]
    assert len(standin.asked) <= 100
    assert worker.store.rows("SELECT holder FROM lease") == [(None,)]
    standin.everybody = None
    assert worker.sync().code == 0
