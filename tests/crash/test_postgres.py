"""PostgreSQL ends the worker's backends, or waits for a worker that is paused."""

import pytest

from tests.support.crash.ground import Ground, pause
from tests.support.crash.servers import PUBLISHES, halted


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
