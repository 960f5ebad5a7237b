"""A database goes away: stopped, crashed, frozen or locked.

Each command waits for it for a minute in all: not for that long by each thing
that it asks of the database, nor by each of the writes that end a run. Frozen is a server that
stands still, as when its machine or its storage does: connections stay open, nothing comes back,
and nothing says so.
"""

import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.support.crash.ground import Ground
from tests.support.network.postgres_front import Front, front
from tests.support.program import DATABASE_PATIENCE_S, Ended, Installation, Running, closed_port
from tests.support.raw_server import BEFORE

PATIENCE_S = 20.0
"""How long a database is waited for where that is measured: who is patient twice waits for 40 s."""


def worker_on(ground: Ground, patience_s: float = PATIENCE_S) -> Installation:
    """A worker with metrics: for these the database is asked once more."""
    made = ground.worker()
    made.constants[DATABASE_PATIENCE_S] = patience_s
    made.configure(telemetry={"textfile": str(made.folder / "numbers.prom")})
    return made


@contextmanager
def behind(worker: Installation) -> Iterator[Front]:
    """The worker reaches its server through somebody who may cut it off."""
    with front(worker.database_url) as between:
        worker.configure(database={"url": between.url(query="?sslmode=disable")})
        yield between
    worker.configure(database={"url": worker.database_url})


@contextmanager
def stopped(between: Front) -> Iterator[None]:
    """Each connection is ended, and so is each that is opened."""
    before, between.strike = between.strike, lambda _: BEFORE
    yield
    between.strike = before


@contextmanager
def frozen(between: Front) -> Iterator[None]:
    """Nothing is handed on."""
    is_back, before = threading.Event(), between.strike

    def strike(_: bytes) -> str:
        is_back.wait()
        return ""

    between.strike = strike
    yield
    between.strike = before
    is_back.set()


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


def assert_patient_within(
    worker: Installation, ground: Ground, away: AbstractContextManager[None], answer_s: float
) -> None:
    """What is measured begins before the database goes: a run notices that when it next writes."""
    running = ground.begun(worker)
    began_s = time.monotonic()
    with away:
        ended = running.wait()
        waited_s = time.monotonic() - began_s
    assert_patient_once(ended, waited_s, answer_s)
    assert ground.before == ground.seen(worker)


@pytest.mark.nightly
@pytest.mark.promise("3")
@pytest.mark.parametrize(("away", "answer_s"), [(stopped, 0), (frozen, 30)])
def test_one_patience_for_all_that_a_run_still_writes(
    on_postgres: Ground, away: Callable[[Front], AbstractContextManager[None]], answer_s: float
):
    """It ends with 69, and the next run continues."""
    worker = worker_on(on_postgres)
    with behind(worker) as between:
        assert_patient_within(worker, on_postgres, away(between), answer_s)
    worker.store.end_lease()
    assert on_postgres.assert_recovers(worker).run["continued"]


@pytest.mark.nightly
@pytest.mark.promise("3")
def test_one_patience_for_a_locked_file(on_sqlite: Ground):
    """The same."""
    worker = worker_on(on_sqlite)
    assert_patient_within(worker, on_sqlite, locked(worker.store.path), 5)
    assert on_sqlite.assert_recovers(worker).run["continued"]


# For a moment


@pytest.mark.nightly
@pytest.mark.promise("3")
def test_stopped_for_a_moment(on_postgres: Ground):
    """A run outlives a PostgreSQL that goes and comes back."""
    worker = on_postgres.worker()
    with behind(worker) as between:
        running = on_postgres.begun(worker)
        with stopped(between):
            running.until_logged("database.retry")
        ended = running.wait()
    assert ended.code == 0, ended.out + ended.err
    assert on_postgres.after == worker.store.published()
    assert worker.store.runs() == [("published", 0)] * 2


# A stop does not wait for the database: in each of these, patience lasts for longer than the test


def assert_stops(running: Running, number: signal.Signals = signal.SIGTERM) -> Ended:
    """It ends with 75, and says what it was waiting for."""
    running.signal(number)
    ended = running.wait()
    assert ended.code == 75, ended.out + ended.err
    assert "stopped while waiting for the database" in ended.out + ended.err
    return ended


def test_a_stop_while_no_server_listens(on_sqlite: Ground):
    """Before the run has begun."""
    worker = on_sqlite.worker()
    url = f"postgresql://pts@127.0.0.1:{closed_port()}/pts"
    worker.configure(database={"url": url})
    running = worker.start("sync")
    running.until_logged("database.retry")
    assert_stops(running, signal.SIGINT)


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
