"""The dead man's switch as runs of the program ping it, and the textfile beside it."""

import re
from pathlib import Path

import pytest

from tests.support.program import Ended, Installation, wait_for
from tests.support.raw_server import http
from tests.support.standin import Standin, persons

SECRET = "3f1c-of-the-check"
PERSONS = 6


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    persons(standin, range(PERSONS), safeties=1)
    made = standin.install(tmp_path, sqlite_url)
    made.configure(
        telemetry={
            "ping_url": f"{standin.origin}/pushed/{SECRET}",
            "textfile": str(tmp_path / "pts.prom"),
        },
        log={"level": "DEBUG"},
    )
    return made


def pings(standin: Standin) -> list[str]:
    """The end of each ping's path with its body, since the last call."""
    found = []
    for push in standin.pushed:
        line, _, body = push.decode().partition("\n")
        found.append(f"{line.split(' ')[1].removeprefix(f'/pushed/{SECRET}')} {body}".strip())
    standin.pushed.clear()
    return found


def is_silent(ended: Ended) -> bool:
    """Nothing that was said has the switch's address."""
    return SECRET not in ended.out + ended.err


def test_each_end_of_a_night(standin: Standin, worker: Installation) -> None:
    """Start and success; start and failure with its code; start alone for a stop and for 4.

    A start that ends with 4 leaves the metrics to the run that is on.
    """
    ended = worker.sync()
    assert (ended.code, pings(standin)) == (0, ["/start", "exit code 0"])
    assert is_silent(ended)

    standin.everybody = lambda _: http(status="503 Service Unavailable")
    ended = worker.sync("--set", "sync.retry_attempts=1")
    assert (ended.code, pings(standin)) == (69, ["/start", "/fail exit code 69"])

    standin.everybody = None
    standin.delay_s = 60.0
    standin.asked.clear()
    running = worker.start("sync")
    wait_for(lambda: standin.asked, "the first search")
    assert (worker.sync().code, exit_code_in_textfile(worker)) == (4, "69.0")
    assert running.stop().code == 75
    assert pings(standin) == ["/start", "/start"]

    standin.delay_s = 0.0
    assert (worker.sync().code, pings(standin)) == (0, ["/start", "exit code 0"])
    assert standin.violations == []


def exit_code_in_textfile(worker: Installation) -> str:
    """What a collector reads of the last sync."""
    text = (worker.folder / "pts.prom").read_text(encoding="utf-8")
    (found,) = re.findall(r'^pts_worker_exit_code\{run="sync"\} (\S+)$', text, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"database": {"url": "sqlite:///nowhere.db"}}, 78),
        ({"privacy": {"pseudonym_key_file": "weak.key"}}, 78),
        ({"helseid": {"client_id": "00000000-0000-4000-8000-000000000bad"}}, 77),
    ],
    ids=["no database", "weak key", "refused"],
)
def test_a_run_that_cannot_begin(
    standin: Standin, worker: Installation, changes: dict[str, dict[str, str]], code: int
) -> None:
    """A failure with its code, a line for it, and no exit code of yesterday in the textfile."""
    assert worker.sync().code == 0
    assert (pings(standin)[-1], exit_code_in_textfile(worker)) == ("exit code 0", "0.0")
    (worker.folder / "weak.key").write_bytes(bytes(48))
    (worker.folder / "weak.key").chmod(0o600)
    worker.configure(**changes)
    ended = worker.sync()
    assert (ended.code, pings(standin)) == (code, ["/start", f"/fail exit code {code}"])
    assert exit_code_in_textfile(worker) == f"{code}.0"
    (line,) = ended.events("run.summary" if code == 77 else "run.failed")
    assert line["code"] == code
    assert is_silent(ended)


def test_a_backfill_says_nothing(standin: Standin, worker: Installation) -> None:
    """It would vouch for nights that were missed."""
    assert worker.sync().code == 0
    pings(standin)
    off_id = next(iter(standin.people))
    ended = worker.run("backfill", "--person", "-", stdin=f"{off_id}\n".encode())
    assert (ended.code, pings(standin)) == (0, [])
