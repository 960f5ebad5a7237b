"""A `Retry-After` that ended a run binds the starts after it, whichever scheduler makes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Ended, Installation, calls, wait_for
from tests.support.raw_server import http
from tests.support.standin import Standin, person

pytestmark = pytest.mark.promise("7")

LONG_S, SHORT_S = 600, 12


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Iterator[Installation]:
    """A worker that waits for a second at most; everything that it sends is by the rules."""
    for number in range(6):
        person(standin, number, safeties=1)
    yield standin.install(tmp_path, sqlite_url)
    assert standin.violations == []


def end_by_quiet(standin: Standin, worker: Installation, quiet_s: int, **sync: str) -> Ended:
    """A run that PTS ends with 69, asking for quiet; PTS answers everybody from then on."""
    worker.configure(sync={"retry_after_max": "1s"} | sync)
    standin.everybody = lambda _: http(
        status="503 Service Unavailable", headers=[f"Retry-After: {quiet_s}"]
    )
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (69, "interrupted"), ended.story()
    standin.everybody = None
    return ended


def test_a_start_within_the_quiet_sends_nothing(standin: Standin, worker: Installation) -> None:
    """It ends with 69 at once, so that a scheduler goes on, and says until when.

    Nobody is probed either, unless that is said; `doctor` and `status` show the quiet.
    """
    ended = end_by_quiet(standin, worker, LONG_S)
    until = ended.run["reasons"][0].partition("until ")[2].partition(" ")[0]
    sent, tokens = len(standin.asked), len(standin.tokens)
    starts = ("sync --json", "backfill --stale-for 1d --json", "backfill --failed --json")
    for line, start in zip(starts, calls(worker, *starts), strict=True):
        assert start.code == 69, (line, start.story())
        assert f"quiet until {until}" in start.message, line
        assert f"quiet until {until}" in start.err, line
    (status,) = calls(worker, "status --json")
    assert len(standin.tokens) == tokens
    assert status.document["quiet_until"][:19] == until[:19]
    probed = worker.run("doctor", "--probe")
    lines = {line["name"]: line for line in probed.document["lines"]}
    assert (lines["quiet"]["state"], lines["PTS probe"]["state"]) == ("WARN", "SKIP")
    assert until[:10] in lines["quiet"]["text"]
    assert "--despite-quiet" in lines["PTS probe"]["text"]
    assert len(standin.asked) == sent
    assert worker.store.runs() == [("interrupted", 69)]
    assert worker.store.rows("SELECT holder FROM lease") == [(None,)]
    assert worker.run("doctor", "--despite-quiet").code == 2
    worker.run("doctor", "--probe", "--despite-quiet")
    assert len(standin.asked) > sent


@pytest.mark.nightly
def test_a_start_waits_for_a_short_rest(standin: Standin, worker: Installation) -> None:
    """What is left is not longer than sync.retry_after_max: the start waits, then goes on."""
    end_by_quiet(standin, worker, SHORT_S)
    asked_s = standin.heard[-1].at_s
    sent = len(standin.heard)
    done = worker.sync("--set", "sync.retry_after_max=60s")
    assert (done.code, done.run["status"], done.run["continued"]) == (0, "published", True)
    assert standin.heard[sent].at_s - asked_s > SHORT_S - 1
    assert done.events("run.quiet") != []
    assert worker.run("status").document["quiet_until"] is None


def test_a_stop_ends_the_wait(standin: Standin, worker: Installation) -> None:
    """SIGTERM is 75, and nothing is sent."""
    end_by_quiet(standin, worker, LONG_S)
    sent = len(standin.asked)
    running = worker.start("sync", "--set", "sync.retry_after_max=20m")
    running.until_logged("run.quiet")
    running.signal(15)
    ended = running.wait()
    assert (ended.code, len(standin.asked)) == (75, sent), ended.story()


@pytest.mark.nightly
def test_a_new_schedule_keeps_the_quiet(standin: Standin, worker: Installation) -> None:
    """It would continue the open run at its start: it retries after the quiet instead."""
    end_by_quiet(standin, worker, SHORT_S, retry_attempts="1")
    asked_s = standin.heard[-1].at_s
    sent = len(standin.heard)
    worker.configure(schedule={"retry_wait": "1s"})
    running = worker.start("schedule", "--cron", "0 0 1 1 *")
    wait_for(lambda: '"status": "published"' in running.out.read_text(), "the retry")
    running.signal(15)
    ended = running.wait()
    assert ended.code == 0, ended.story()
    assert "schedule.retrying" in ended.err
    assert standin.heard[sent].at_s - asked_s > SHORT_S - 1


@pytest.mark.parametrize("reply", ["token_reply", "discovery_reply"])
def test_a_pause_for_helseid_is_obeyed(standin: Standin, worker: Installation, reply: str) -> None:
    """A `Retry-After` of HelseID binds the next start as one of PTS does."""
    worker.configure(sync={"retry_after_max": "1s"})
    busy = http(status="503 Service Unavailable", headers=[f"Retry-After: {LONG_S}"])
    setattr(standin, reply, busy)
    assert worker.sync().code == 69
    setattr(standin, reply, None)
    second = worker.sync()
    assert (second.code, len(standin.asked)) == (69, 0), second.story()
    assert "quiet until" in second.message
