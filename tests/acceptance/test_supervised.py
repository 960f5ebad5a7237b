"""What supervises the worker sees: systemd's socket, probes, and one log line per run."""

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.program import (
    REQUEST_TIMEOUT_S,
    Installation,
    Running,
    closed_port,
    environment,
    fetch,
    wait_for,
)
from tests.support.raw_server import http
from tests.support.standin import Standin, persons

PERSONS = 6
IN_JANUARY = ("--cron", "0 0 1 1 *")


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    persons(standin, range(PERSONS), safeties=1)
    return standin.install(tmp_path, sqlite_url)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Systemd's socket, ``notify`` in the worker's folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(60)
        yield made


def supervised(worker: Installation, *words: str) -> Running:
    return worker.start(*words, env=environment(NOTIFY_SOCKET=str(worker.folder / "notify")))


def test_systemd_hears_of_a_run(
    standin: Standin, worker: Installation, manager: socket.socket
) -> None:
    """`sync` is ready at once, alive during the run, and says when it stops.

    It expects about as many persons as the roster has lines.
    """
    assert worker.sync().code == 0
    lines = (worker.folder / "roster.csv").read_text(encoding="utf-8").count("\n")
    standin.delay_s = 100.0
    worker.constants[REQUEST_TIMEOUT_S] = 100.0
    running = supervised(worker, "sync")
    status = ""
    while f" of about {lines} persons" not in status:
        ready, alive, status = manager.recv(4096).decode().split("\n")
        assert (ready, alive) == ("READY=1", "WATCHDOG=1")
        assert re.fullmatch(
            r"STATUS=(waiting|\d+( of .+)? persons, (total unknown, )?[\d.]+/s(, .* left)?)", status
        )
    running.signal(signal.SIGTERM)
    while "stopping" not in manager.recv(4096).decode():
        pass
    assert running.wait().code == 75


@pytest.mark.parametrize(
    ("call", "end"),
    [
        ("sync", (77, "PTS denies this client")),
        ("sync --set database.url=sqlite:///nowhere.db", (78, "nowhere.db")),
        ("status --max-age 1h", (3, "there is no copy yet: no full run has been published")),
    ],
)
def test_systemd_keeps_why_a_command_failed(
    standin: Standin,
    worker: Installation,
    manager: socket.socket,
    call: str,
    end: tuple[int, str],
) -> None:
    """It is the last status of the unit, which the alert repeats."""
    code, reason = end
    standin.everybody = lambda _: http(status="403 Forbidden")
    assert supervised(worker, *call.split()).wait().code == code
    heard = []
    manager.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            heard.append(manager.recv(4096).decode())
    assert re.match(f"STATUS=.*{reason}", heard[-1])


def test_metrics_after_a_restart(standin: Standin, worker: Installation) -> None:
    """A restart is no gap, in which alerts would come and go; nor is a database that is away."""
    port = closed_port()
    worker.configure(telemetry={"http_listen": f"127.0.0.1:{port}"})
    assert worker.sync().code == 0
    running = worker.start("schedule", *IN_JANUARY)
    wait_for(lambda: "last_published" in fetch(port, "/metrics")[1], "the metrics")
    _, text = fetch(port, "/metrics")
    assert 'pts_worker_exit_code{run="sync"} 0.0' in text
    assert f'pts_worker_persons{{kind="total",run="sync"}} {PERSONS}.0' in text
    assert running.stop().code == 0

    worker.store.path.rename(worker.folder / "away")
    running = worker.start("schedule", *IN_JANUARY)
    wait_for(lambda: fetch(port, "/metrics")[0] == 200, "the server")
    running.until_logged("schedule.run_failed")
    ended = running.stop()
    assert (ended.code, ended.events("schedule.run_failed")[0]["code"]) == (0, 78)


def test_one_line_has_every_figure(standin: Standin, worker: Installation) -> None:
    """Of a published run the totals, of another what this process did."""
    ended = worker.sync()
    (summary,) = ended.events("run.summary")
    run = ended.run
    assert summary == {**summary, **run["totals"]}
    assert (summary["run"], summary["code"], summary["status"]) == (run["run_id"], 0, "published")
    assert summary["duration_s"] > 0

    standin.everybody = lambda _: http(status="403 Forbidden")
    (summary,) = worker.sync().events("run.summary")
    assert (summary["code"], summary["persons_complete"]) == (77, 0)
    assert summary["requests"] > 0
    assert summary["reasons"]
