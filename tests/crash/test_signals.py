"""Stopped twice, and paused for longer than the lease."""

import contextlib
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.crash.ground import SYNC, WRITTEN, Ground, has_begun, name_of, pause
from tests.support.program import Installation, Running, environment, wait_for
from tests.support.published import Store

pytestmark = pytest.mark.promise("3")


@contextlib.contextmanager
def slow_pts(ground: Ground, slow_s: float) -> Iterator[None]:
    """PTS answers so late."""
    ground.sandbox.control(faults=[{"action": "slow", "slow_s": slow_s}])
    try:
        yield
    finally:
        ground.sandbox.control(faults=[])


@pytest.mark.parametrize(
    ("ground", "number"),
    [("sqlite", signal.SIGTERM), ("postgresql", signal.SIGINT)],
    indirect=["ground"],
)
def test_a_second_signal_ends_the_run_at_once(ground: Ground, number: signal.Signals):
    """A second SIGTERM or SIGINT does not wait for persons in flight; the next run continues."""
    worker = ground.worker()
    with slow_pts(ground, 0.05):
        running = ground.start(worker)
        wait_for(lambda: has_begun(running), "the run")
        wait_for(lambda: worker.store.one(WRITTEN), "a batch")
        ground.sandbox.control(faults=[{"action": "slow", "slow_s": 30.0}], clear=True)
        wait_for(lambda: ground.sandbox.stats()["searches"] >= 2, "searches that hang")
        running.signal(number)
        wait_for(lambda: b"run.stopping" in running.err.read_bytes(), "the first to be heard")
        running.signal(number)
        ended = running.wait()
    assert ended.code == 75, ended.out + ended.err
    assert "at once" in ended.message
    assert ground.before == worker.store.published()
    kept = worker.store.one(WRITTEN)
    assert kept
    assert ground.assert_recovers(worker).run["continued"]


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that is full and that nobody reads."""
    unread, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(end, b"x" * 4_096)
    fcntl.fcntl(end, fcntl.F_SETFL, 0)
    try:
        yield end
    finally:
        os.close(unread)
        os.close(end)


def sync_into(worker: Installation, *, out: int, err: int) -> subprocess.Popen[bytes]:
    words = ("--config", str(worker.config), "--log-level", "DEBUG", *SYNC, "--json")
    return subprocess.Popen(
        [sys.executable, "-m", "worker", *words],
        cwd=worker.folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
    )


def test_a_log_collector_that_hangs_delays_no_stop(on_sqlite: Ground):
    """Nobody reads what the run writes: SIGTERM ends it within ten seconds with 75."""
    worker = on_sqlite.worker()
    with slow_pts(on_sqlite, 0.05), full_pipe() as pipe:
        process = sync_into(worker, out=pipe, err=pipe)
        wait_for(lambda: worker.store.one(WRITTEN), "a batch")
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 75
        assert time.monotonic() - began_s < 10
    assert on_sqlite.before == worker.store.published()
    assert on_sqlite.assert_recovers(worker).run["continued"]


def test_a_log_collector_that_hangs_keeps_no_run_from_publishing(on_sqlite: Ground):
    """Log lines that nobody reads are lost; the run publishes and ends."""
    worker = on_sqlite.worker()
    with full_pipe() as pipe:
        process = sync_into(worker, out=pipe, err=pipe)
        assert process.wait(60) == 0
    assert on_sqlite.after == worker.store.published()


@pytest.mark.promise("4")
def test_paused_for_longer_than_the_lease(ground: Ground):
    """Another run takes over and publishes; the paused holder wakes up and writes nothing: 75."""
    worker = ground.worker()
    worker.configure(lease={"ttl_s": 5})
    with slow_pts(ground, 0.2):
        paused = ground.start(worker)
        wait_for(lambda: has_begun(paused), "the run")
        wait_for(lambda: worker.store.one(WRITTEN), "a batch")
        _pause_between_transactions(worker, paused)
    held = ground.sync(worker)
    assert held.code == 4, held.out + held.err
    ended = ground.sync(worker, "--wait", "20s")
    assert (ended.code, ended.run["continued"]) == (0, True)
    assert ground.after == worker.store.published()
    before = worker.store.everything()
    paused.signal(signal.SIGCONT)
    late = paused.wait()
    assert late.code == 75, late.out + late.err
    assert "took over" in late.message
    assert before == worker.store.everything()


def _pause_between_transactions(worker: Installation, running: Running) -> None:
    """SIGSTOP where nothing is locked.

    A process that is paused within a transaction on SQLite keeps the file locked, and nobody can
    take over before it goes on or is killed; on PostgreSQL see ``test_postgres.py``.
    """

    def try_it() -> bool:
        assert pause(running)
        if not _is_locked(worker.store):
            return True
        running.signal(signal.SIGCONT)
        time.sleep(0.02)
        return False

    wait_for(try_it, "a moment between two transactions")


def _is_locked(store: Store) -> bool:
    if not store.is_sqlite:
        return bool(
            store.rows(
                "SELECT 1 FROM pg_stat_activity WHERE xact_start IS NOT NULL "
                f"AND datname = '{name_of(store.url)}' AND pid <> pg_backend_pid()"
            )
        )
    with contextlib.closing(sqlite3.connect(store.path, timeout=0)) as connection:
        connection.isolation_level = None
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False
