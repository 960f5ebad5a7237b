"""A database that is away is waited for as long as ``database.patience_s`` says, by every command.

Not for that long by each thing that the command asks of it, nor by each of the writes that end a
run.
"""

import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.crash.test_away import assert_given_up, frozen
from tests.support.crash.ground import WRITTEN, Ground, PostgresDatabases, SqliteFiles
from tests.support.crash.servers import OwnServer
from tests.support.program import Ended, Installation, Running, closed_port, wait_for

PATIENCE_S = 8.0
"""``database.patience_s`` of these runs. Who is patient twice waits for longer than 16 s."""
DOCTOR_S = 5.0
"""``doctor`` waits no longer than that."""

Away = Callable[[], AbstractContextManager[object]]


def worker_on(ground: Ground) -> Installation:
    """A worker with metrics: for these the database is asked once more."""
    made = ground.worker()
    made.configure(
        database={"patience_s": PATIENCE_S},
        telemetry={"textfile": str(made.folder / "numbers.prom")},
        sync={"requests_per_second": 20},
    )
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
def locked(path: Path, how: str = "IMMEDIATE") -> Iterator[None]:
    """Somebody else is in the middle of a write transaction."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        other.execute(f"BEGIN {how}")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@contextmanager
def locked_for_all(path: Path) -> Iterator[None]:
    """So that nobody can read either: without a write-ahead log, as a copying tool leaves it."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        assert other.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    with locked(path, "EXCLUSIVE"):
        yield


def assert_waits(worker: Installation, command: str, away: Away) -> None:
    """It ends with 69 when patience has run out, neither long before nor long after."""
    patience_s = DOCTOR_S if command == "doctor" else PATIENCE_S
    with away():
        ended = worker.run(command)
    assert ended.code == 69, ended.out + ended.err
    assert "the database is unavailable" in ended.out
    assert patience_s - 0.5 < ended.took_s < 2 * PATIENCE_S - 0.5


@pytest.mark.parametrize(
    ("how", "command"),
    [("stopped", "sync"), ("frozen", "sync"), ("frozen", "status"), ("stopped", "doctor")],
)
def test_a_server_that_is_away(on_server: Ground, server: OwnServer, how: str, command: str):
    """Nobody answers, or nothing comes back."""
    away = {"stopped": lambda: stopped(server), "frozen": lambda: frozen(server)}[how]
    assert_waits(worker_on(on_server), command, away)


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_file_that_is_locked(on_sqlite: Ground, command: str):
    """SQLite waits for a lock by itself: that counts."""
    worker = worker_on(on_sqlite)
    assert_waits(worker, command, lambda: locked_for_all(worker.store.path))


def test_a_file_that_others_write(on_sqlite: Ground):
    """Who only reads need not wait."""
    worker = worker_on(on_sqlite)
    assert_waits(worker, "sync", lambda: locked(worker.store.path))
    with locked(worker.store.path):
        assert worker.run("status").code == 0


def assert_gives_up(running: Running, away: Away) -> Ended:
    """The run ends with 69, though it still has persons to write, an end to note, a lease to give.

    What is measured begins before the database goes: a run may notice that only when it next
    writes.
    """
    began_s = time.monotonic()
    with away():
        ended = running.wait()
        took_s = time.monotonic() - began_s
    assert_given_up(ended)
    assert PATIENCE_S - 0.5 < took_s < 2 * PATIENCE_S - 0.5
    return ended


@pytest.mark.promise("3")
@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_server_goes_away_within_a_run(on_server: Ground, server: OwnServer, how: str):
    """One patience for all that a run still wants to write."""
    assert isinstance(on_server.databases, PostgresDatabases)
    worker = worker_on(on_server)
    running = on_server.begun(worker)
    away = {"stopped": lambda: stopped(server), "frozen": lambda: frozen(server)}[how]
    ended = assert_gives_up(running, away)
    assert ('"database.silent"' in ended.err) is (how == "frozen")
    assert on_server.before == on_server.seen(worker)
    assert on_server.assert_recovers(worker).run["continued"]


def test_a_file_is_locked_within_a_run(on_sqlite: Ground):
    """The same where another process keeps the file."""
    assert isinstance(on_sqlite.databases, SqliteFiles)
    worker = worker_on(on_sqlite)

    def wrote() -> int:
        with closing(sqlite3.connect(f"file:{worker.store.path}?mode=ro", uri=True)) as reader:
            with suppress(sqlite3.OperationalError):
                return int(reader.execute(WRITTEN).fetchone()[0])
            return 0

    running = on_sqlite.start(worker)
    wait_for(wrote, "a batch")
    assert_gives_up(running, lambda: locked(worker.store.path))
    on_sqlite.assert_recovers(worker)


STOPPED_S = 2.5
"""How long a stop may take, on a machine that has other work."""
RETRY = b"database.retry"


def assert_stops(running: Running, number: signal.Signals = signal.SIGTERM) -> None:
    """It ends with 75 at once, and says what it was waiting for."""
    running.signal(number)
    asked_s = time.monotonic()
    ended = running.wait()
    took_s = time.monotonic() - asked_s
    assert ended.code == 75, ended.out + ended.err
    assert "stopped while waiting for the database" in ended.out + ended.err
    assert took_s < STOPPED_S


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_no_server_listens(on_sqlite: Ground, number: signal.Signals):
    """Before the run has begun."""
    worker = on_sqlite.worker()
    url = f"postgresql://pts@127.0.0.1:{closed_port()}/pts"
    worker.configure(database={"url": url, "patience_s": 30})
    running = worker.start("sync")
    wait_for(lambda: RETRY in running.err.read_bytes(), "a retry")
    time.sleep(2)
    assert_stops(running, number)


def test_a_stop_while_a_server_is_silent(on_sqlite: Ground):
    """While the first connection is being opened."""
    worker = on_sqlite.worker()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://pts@127.0.0.1:{silent.getsockname()[1]}/pts"
        worker.configure(database={"url": url, "patience_s": 60})
        running = worker.start("sync")
        caller, _ = silent.accept()
        with caller:
            time.sleep(2)
            assert_stops(running)


def test_a_stop_after_a_server_went_away_within_a_run(on_server: Ground, server: OwnServer):
    """What was written before is kept, and the next run continues."""
    worker = worker_on(on_server)
    worker.configure(database={"patience_s": 60})
    running = on_server.begun(worker)
    with stopped(server):
        wait_for(lambda: RETRY in running.err.read_bytes(), "a retry")
        assert_stops(running)
    assert on_server.assert_recovers(worker).run["continued"]
