"""PostgreSQL goes away under a run: stopped, crashed, or frozen.

Frozen is a server whose processes stand still (SIGSTOP), as when its machine or its storage does:
connections stay open, nothing comes back, and nothing says so.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio
import pytest

from tests.support.crash.ground import Ground
from tests.support.crash.servers import OwnServer
from tests.support.databases import execute
from tests.support.program import Ended, Installation, wait_for

pytestmark = pytest.mark.promise("3")

PATIENCE_S = 3.0
"""``database.patience_s`` of these runs."""


@pytest.fixture
def worker(on_server: Ground) -> Installation:
    """A worker that waits for its database for a few seconds only."""
    made = on_server.worker()
    made.configure(database={"patience_s": PATIENCE_S})
    return made


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stopped_for_a_moment(on_server: Ground, server: OwnServer, mode: str):
    """A run outlives a PostgreSQL that is stopped, or crashes, and is back after two seconds."""
    worker = on_server.worker()
    # PostgreSQL 18 forgets a sequence's last steps if it crashes before the first checkpoint after
    # CREATE DATABASE has copied it (STRATEGY WAL_LOG): the copy's fault, not that of a run.
    anyio.run(execute, server.url, "CHECKPOINT")
    running = on_server.begun(worker)
    server.stop(mode)
    assert running.process.poll() is None
    time.sleep(2)
    server.start()
    ended = running.wait()
    assert ended.code == 0, ended.out + ended.err
    assert '"database.retry"' in ended.err
    assert on_server.after == worker.store.published()
    assert worker.store.runs() == [("published", 0)] * 2


def assert_given_up(ended: Ended) -> None:
    """69, with the reason and no traceback."""
    assert ended.code == 69, ended.out + ended.err
    assert "the database is unavailable" in ended.out + ended.err
    assert "Traceback" not in ended.err


@contextmanager
def frozen(server: OwnServer, *, completely: bool = True) -> Iterator[None]:
    """The server's processes stand still; if not ``completely``, the one that makes others runs."""
    first, made = server.processes()
    stopped = [first, *made] if completely else made
    send(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        send(stopped, signal.SIGCONT)


def send(pids: list[int], number: int) -> None:
    """A signal for each that is still there: a backend may just have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def test_its_backends_frozen_within_a_transaction(
    on_server: Ground, server: OwnServer, worker: Installation
):
    """69 where new connections can be had, and meet the locks of a transaction that stands.

    It is the publication, which holds the lease. When its backend goes on there is nobody behind it
    any more, and it is rolled back.
    """
    dawdle(worker, 1.0)
    running = on_server.start(worker)
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: worker.store.one(asleep), "the publication")
    with frozen(server, completely=False):
        ended = running.wait()
    assert_given_up(ended)
    assert '"database.silent"' in ended.err
    assert on_server.before == on_server.seen(worker)
    assert on_server.assert_recovers(worker).run["continued"]


STOP_S_MAX = 20.0
"""The server is asked after 10 s, has 4 s to answer, and two writes are tried once each."""


def test_a_stop_while_it_is_frozen_within_a_statement(
    on_server: Ground, server: OwnServer, worker: Installation
):
    """75 in seconds, however long the configured patience is; the next run continues."""
    worker.configure(database={"patience_s": 60.0})
    dawdle(worker, 1.0)
    running = on_server.start(worker)
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: worker.store.one(asleep), "the publication")
    with frozen(server):
        time.sleep(1.5)
        running.signal(signal.SIGTERM)
        asked_s = time.monotonic()
        ended = running.wait()
        took_s = time.monotonic() - asked_s
    assert ended.code == 75, ended.out + ended.err
    assert took_s < STOP_S_MAX
    assert on_server.before == on_server.seen(worker)
    worker.configure(database={"patience_s": PATIENCE_S})
    assert on_server.assert_recovers(worker).run["continued"]


def test_frozen_for_a_moment(on_server: Ground, server: OwnServer, worker: Installation):
    """For less than the patience: the run waits, and comes to its end."""
    running = on_server.begun(worker)
    with frozen(server):
        time.sleep(PATIENCE_S / 2)
        assert running.process.poll() is None
    ended = running.wait()
    assert ended.code == 0, ended.out + ended.err
    assert on_server.after == worker.store.published()


def test_a_long_statement_is_left_alone(on_server: Ground, worker: Installation):
    """A publication longer than the patience succeeds: the server answers on another connection."""
    dawdle(worker, 1.5 * PATIENCE_S)
    ended = on_server.sync(worker)
    assert ended.code == 0, ended.out + ended.err
    assert ended.took_s > 1.5 * PATIENCE_S
    assert {event for event in ("database.silent", "database.retry") if event not in ended.err} == {
        "database.silent",
        "database.retry",
    }
    assert on_server.after == worker.store.published()


def dawdle(worker: Installation, sleep_s: float) -> None:
    """Publication takes so much longer, within the database."""
    worker.store.rows(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({sleep_s}); RETURN NEW; END $$"
    )
    worker.store.rows(
        "CREATE TRIGGER slow BEFORE UPDATE ON run FOR EACH ROW "
        "WHEN (OLD.publication_no IS NULL AND NEW.publication_no IS NOT NULL) "
        "EXECUTE FUNCTION dawdle()"
    )
