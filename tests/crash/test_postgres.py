"""PostgreSQL ends the worker's backends, is cut off, or waits for a worker that is paused."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.support.crash.ground import Ground, pause
from tests.support.crash.servers import PUBLISHES, halted
from tests.support.network.postgres_front import front
from tests.support.program import Ended
from tests.support.raw_server import AFTER, BEFORE


@pytest.mark.promise("3")
def test_backends_ended_in_mid_transaction(on_postgres: Ground):
    """Transactions that pg_terminate_backend cuts off are repeated, and the run ends with 0."""
    worker = on_postgres.worker()

    def end(pid: int) -> None:
        assert worker.store.one(f"SELECT pg_terminate_backend({pid}, 20000)")

    url = worker.database_url
    with halted(url, "run", PUBLISHES) as wait_for_publication:
        with halted(url, "draft") as wait_for_batch:
            running = on_postgres.start(worker)
            for _ in range(2):
                end(wait_for_batch())
        end(wait_for_publication())
    ended = running.wait()
    assert ended.code == 0, ended.out + ended.err
    assert len(ended.events("database.retry")) >= 3
    assert on_postgres.after == worker.store.published()
    assert worker.store.runs() == [("published", 0)] * 2


def run_behind(ground: Ground, strike: Callable[[bytes], str]) -> Ended:
    """A run whose connections are cut so; it publishes once, and the undisturbed run's result."""
    worker = ground.worker()
    with front(worker.database_url) as between:
        between.strike = strike
        worker.configure(database={"url": between.url(query="?sslmode=disable")})
        ended = ground.sync(worker)
    assert ended.code == 0, ended.story()
    assert ground.after == worker.store.published()
    assert worker.store.runs() == [("published", 0)] * 2
    return ended


@pytest.mark.promise("3")
def test_a_publication_that_is_not_heard_of(on_postgres: Ground):
    """The server commits, and the connection is gone before it has said so: it is not repeated."""
    steps = iter((b"UPDATE run SET status", b"COMMIT"))
    awaited = [next(steps)]

    def strike(data: bytes) -> str:
        if not awaited or awaited[0] not in data:
            return ""
        awaited[:] = steps
        return "" if awaited else AFTER

    ended = run_behind(on_postgres, strike)
    assert len(ended.events("database.retry")) == 1


@pytest.mark.nightly
@pytest.mark.promise("3")
@pytest.mark.parametrize("how", [BEFORE, AFTER])
def test_a_connection_that_is_cut_anywhere(on_postgres: Ground, how: str):
    """At every twentieth part of all that a run sends."""
    calls = count(1)
    run_behind(on_postgres, struck(calls, 0, how))
    undisturbed = next(calls)
    for number in range(undisturbed // 40, undisturbed, undisturbed // 20):
        run_behind(on_postgres, struck(count(1), number, how))


def struck(calls: Iterator[int], number: int, how: str) -> Callable[[bytes], str]:
    """Cut the connection at the call with this number."""
    return lambda _: how if next(calls) == number else ""


@pytest.mark.nightly
@pytest.mark.promise("4")
def test_paused_within_a_transaction(on_postgres: Ground):
    """A holder paused in its publication does not keep the lease: the server ends it in time."""
    worker = on_postgres.worker()
    worker.configure(lease={"ttl_s": 15})
    with halted(worker.database_url, "run", PUBLISHES) as wait_for_publication:
        paused = on_postgres.start(worker)
        wait_for_publication()
        assert pause(paused)
    ended = on_postgres.sync(on_postgres.install(worker.database_url), "--wait", "80s")
    assert ended.code == 0, ended.out + ended.err
    on_postgres.assert_cannot_write(worker, paused)
