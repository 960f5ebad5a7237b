"""A database goes away: stopped, crashed, frozen or locked.

Each command waits for it for a minute in all: not for that long by each thing
that it asks of the database, nor by each of the writes that end a run. Frozen is a server whose
processes stand still (SIGSTOP), as when its machine or its storage does: connections stay open,
nothing comes back, and nothing says so.
"""

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.crash.ground import Ground
from tests.support.crash.servers import OwnServer
from tests.support.program import DATABASE_PATIENCE_S, Ended, Installation, Running, closed_port

PATIENCE_S = 20.0
"""How long a database is waited for where that is measured: who is patient twice waits for 40 s."""


def worker_on(ground: Ground, patience_s: float = PATIENCE_S) -> Installation:
    """A worker with metrics: for these the database is asked once more."""
    made = ground.worker()
    made.constants[DATABASE_PATIENCE_S] = patience_s
    made.configure(telemetry={"textfile": str(made.folder / "numbers.prom")})
    return made


@contextmanager
def stopped(server: OwnServer) -> Iterator[None]:
    """Nobody takes connections."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: OwnServer) -> Iterator[None]:
    """The server's processes stand still."""
    pids = server.processes()
    send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pids, signal.SIGCONT)


def send(pids: list[int], number: int) -> None:
    """A signal for each that is still there: a backend may just have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else is in the middle of a write transaction."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def assert_given_up(ended: Ended) -> None:
    """69, with the reason and no traceback."""
    assert ended.code == 69, ended.out + ended.err
    assert "the database is unavailable" in ended.out + ended.err
    assert "Traceback" not in ended.err


def assert_patient_once(ended: Ended, waited_s: float, answer_s: float) -> None:
    """It gave up when patience had run out, neither before nor long after.

    Patience begins when the first question, which may wait so long for an answer, has failed.
    """
    assert_given_up(ended)
    assert PATIENCE_S - 0.5 < waited_s < answer_s + 2 * PATIENCE_S - 0.5


# Within a run: persons are still to be written, an end to be noted, a lease to be given back


@pytest.mark.nightly
@pytest.mark.promise("3")
@pytest.mark.parametrize(("how", "answer_s"), [("stopped", 0), ("frozen", 30), ("locked", 5)])
def test_one_patience_for_all_that_a_run_still_writes(
    on_sqlite: Ground, on_server: Ground, server: OwnServer, how: str, answer_s: float
):
    """What is measured begins before the database goes: a run notices that when it next writes."""
    ground = on_sqlite if how == "locked" else on_server
    worker = worker_on(ground)
    running = ground.begun(worker)
    away = {
        "stopped": lambda: stopped(server),
        "frozen": lambda: frozen(server),
        "locked": lambda: locked(worker.store.path),
    }
    began_s = time.monotonic()
    with away[how]():
        ended = running.wait()
        waited_s = time.monotonic() - began_s
    assert_patient_once(ended, waited_s, answer_s)
    assert ground.before == ground.seen(worker)
    assert ground.assert_recovers(worker).run["continued"]


# For a moment


@pytest.mark.nightly
@pytest.mark.promise("3")
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stopped_for_a_moment(on_server: Ground, server: OwnServer, mode: str):
    """A run outlives a PostgreSQL that is stopped, or crashes, and comes back."""
    worker = on_server.worker()
    running = on_server.begun(worker)
    server.stop(mode)
    running.until_logged("database.retry")
    server.start()
    ended = running.wait()
    assert ended.code == 0, ended.out + ended.err
    assert on_server.after == worker.store.published()
    assert worker.store.runs() == [("published", 0)] * 2


# A stop does not wait for the database: in each of these, patience lasts for longer than the test


def assert_stops(running: Running, number: signal.Signals = signal.SIGTERM) -> Ended:
    """It ends with 75, and says what it was waiting for."""
    running.signal(number)
    ended = running.wait()
    assert ended.code == 75, ended.out + ended.err
    assert "stopped while waiting for the database" in ended.out + ended.err
    return ended


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_no_server_listens(on_sqlite: Ground, number: signal.Signals):
    """Before the run has begun."""
    worker = on_sqlite.worker()
    url = f"postgresql://pts@127.0.0.1:{closed_port()}/pts"
    worker.configure(database={"url": url})
    running = worker.start("sync")
    running.until_logged("database.retry")
    assert_stops(running, number)


def test_a_stop_while_a_server_is_silent(on_sqlite: Ground):
    """While the first connection is being opened."""
    worker = on_sqlite.worker()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://pts@127.0.0.1:{silent.getsockname()[1]}/pts"
        worker.configure(database={"url": url})
        running = worker.start("sync")
        caller, _ = silent.accept()
        with caller:
            assert_stops(running)


@pytest.mark.promise("3")
def test_a_stop_while_a_file_is_locked(on_sqlite: Ground):
    """SQLite itself waits, for some seconds at a time; the next run continues."""
    worker = worker_on(on_sqlite, patience_s=600)
    running = on_sqlite.begun(worker)
    with locked(worker.store.path):
        running.until_logged("database.retry")
        assert_stops(running)
    worker.store.end_lease()
    assert on_sqlite.assert_recovers(worker).run["continued"]
