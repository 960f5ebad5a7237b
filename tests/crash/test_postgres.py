"""PostgreSQL ends the worker's backends, or waits for a worker that is paused."""

import signal
import time

import anyio
import pytest

from tests.support.crash.ground import Ground, has_begun, name_of, pause
from tests.support.crash.servers import hold_publication, terminate_within
from tests.support.program import wait_for
from tests.support.published import Store

WHERE = ("person_area", "person_area", "run")
"""Tables at whose writing the backend is ended, in this order; ``run`` is the publication."""


@pytest.mark.promise("3")
def test_backends_ended_in_mid_transaction(on_postgres: Ground):
    """Transactions that pg_terminate_backend cuts off are repeated, and the run ends with 0."""
    worker = on_postgres.worker()
    running = on_postgres.start(worker)
    wait_for(lambda: has_begun(running), "the run")
    for table in WHERE:
        anyio.run(terminate_within, worker.database_url, table)
    ended = running.wait()
    assert ended.code == 0, ended.out + ended.err
    assert len(WHERE) <= ended.err.count('"database.retry"')
    assert on_postgres.after == worker.store.published()
    assert worker.store.runs() == [("published", 0)] * 2


def test_all_backends_ended_at_once_and_often(on_postgres: Ground):
    """So does one whose connections are all ended, eight times in a row."""
    worker = on_postgres.worker()
    running = on_postgres.start(worker)
    wait_for(lambda: has_begun(running), "the run")
    server = Store(on_postgres.databases.server)  # type: ignore[attr-defined]
    name = name_of(worker.database_url)
    for _ in range(8):
        server.rows(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        time.sleep(0.05)
    ended = running.wait()
    assert ended.code == 0, ended.out + ended.err
    assert on_postgres.after == worker.store.published()


@pytest.mark.promise("4")
def test_paused_within_a_transaction(on_postgres: Ground):
    """A holder paused in its publication does not keep the lease: the server ends it in time.

    But for one moment: between a statement's parsing and its execution, which asyncpg sends apart,
    PostgreSQL does not count a session as idle. Another run then ends with 4 until the paused
    process is continued or killed.
    """
    worker = on_postgres.worker()
    worker.configure(lease={"ttl_s": 5})
    paused = on_postgres.start(worker)
    wait_for(lambda: has_begun(paused), "the run")
    anyio.run(hold_publication, worker.database_url, lambda: pause(paused))
    other = on_postgres.install(worker.database_url)
    other.configure(lease={"ttl_s": 5})
    ended = on_postgres.sync(other, "--wait", "40s")
    assert ended.code == 0, ended.out + ended.err
    before = worker.store.everything()
    paused.signal(signal.SIGCONT)
    late = paused.wait()
    assert late.code == 75, late.out + late.err
    assert "took over" in late.message
    assert before == worker.store.everything()
    assert on_postgres.after == worker.store.published()
