"""PTS asks for quiet for longer than a lease lasts: the run keeps it all the same."""

import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import make_postgres, make_sqlite
from tests.support.program import wait_for
from tests.support.raw_server import Reply, http
from tests.support.standin import Ask, person
from tests.support.standin import standin as serve

TTL_S = 5
"""``lease.ttl_s``, the least that there may be."""
SILENCE_S = 3 * TTL_S
"""``Retry-After``."""

__all__ = ["make_postgres", "make_sqlite"]


@pytest.mark.promise("4")
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_silence_longer_than_the_lease(request: pytest.FixtureRequest, tmp_path: Path, kind: str):
    """Nobody else gets the lease meanwhile; when PTS may be asked again the run goes on."""
    asked: list[str] = []

    def once_quiet(ask: Ask) -> Reply:
        asked.append(ask.area)
        if len(asked) == 1:
            return http(status="429 Too Many Requests", headers=[f"Retry-After: {SILENCE_S}"])
        return http(ask.records)

    with serve() as standin:
        for number in range(4):
            person(standin, number)
        standin.everybody = once_quiet
        worker = standin.install(tmp_path, request.getfixturevalue(f"make_{kind}")())
        worker.configure(lease={"ttl_s": TTL_S}, sync={"concurrency": 1})
        running = worker.start("sync")
        wait_for(lambda: asked, "the first request")
        silent_since_s = time.monotonic()
        refused = []
        for after_s in (TTL_S + 2, 2 * TTL_S):
            time.sleep(max(0.0, silent_since_s + after_s - time.monotonic()))
            refused.append(worker.sync().code)
        ended = running.wait()
    assert refused == [4, 4]
    assert ended.code == 0, ended.out + ended.err
    assert ended.took_s > SILENCE_S
    assert worker.store.one("SELECT fencing_token FROM lease") == 1
    assert worker.store.runs() == [("published", 0)]
