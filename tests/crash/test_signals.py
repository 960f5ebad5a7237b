"""Stopped twice, and paused for longer than the lease."""

import contextlib
import signal
import sqlite3

import pytest

from tests.support.crash.ground import LOW_RATE, Ground, pause
from tests.support.program import Installation, Running, wait_for

pytestmark = pytest.mark.promise("3")


def test_a_second_signal_ends_the_run_at_once(on_sqlite: Ground):
    """It does not wait for persons in flight; the next run continues."""
    worker = on_sqlite.worker()
    running = on_sqlite.begun(worker, rate=LOW_RATE)
    sandbox = on_sqlite.sandbox
    sandbox.control(faults=[{"action": "slow", "slow_s": 30.0}], clear=True)
    wait_for(lambda: sandbox.searches() >= 2, "searches that hang")
    running.signal(signal.SIGTERM)
    running.until_logged("run.stopping")
    running.signal(signal.SIGINT)
    ended = running.wait()
    sandbox.control(faults=[])
    assert ended.code == 75, ended.out + ended.err
    assert "at once" in ended.message
    assert on_sqlite.before == worker.store.published()
    assert on_sqlite.assert_recovers(worker).run["continued"]


@pytest.mark.promise("4")
def test_paused_for_longer_than_the_lease(on_sqlite: Ground):
    """Another run takes over and publishes; the paused holder wakes up and writes nothing: 75."""
    worker = on_sqlite.worker()
    paused = on_sqlite.begun(worker, rate=LOW_RATE)
    wait_for(lambda: is_paused_unlocked(worker, paused), "a moment between two transactions")
    worker.store.end_lease()
    ended = on_sqlite.sync(worker)
    assert (ended.code, ended.run["continued"]) == (0, True)
    on_sqlite.assert_cannot_write(worker, paused)


def is_paused_unlocked(worker: Installation, running: Running) -> bool:
    """Paused where it does not hold the file's lock, so that others can take over."""
    assert pause(running)
    with contextlib.closing(sqlite3.connect(worker.store.path, timeout=0)) as connection:
        connection.isolation_level = None
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            running.signal(signal.SIGCONT)
            return False
        connection.execute("ROLLBACK")
        return True
