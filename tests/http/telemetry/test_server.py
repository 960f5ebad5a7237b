"""`/metrics` over real sockets."""

import re
from contextlib import ExitStack
from pathlib import Path
from socket import create_connection, socket

import pytest

from tests.support.http.reports import NIGHT, reported
from worker.errors import ConfigurationError
from worker.telemetry import Gauges, samples_of

FILES = Path("/proc/self/fd")
ANY_PORT = "127.0.0.1:0"
GAUGES = Gauges(samples_of(NIGHT, None))


def connect(url: str | None) -> socket:
    host, _, port = str(url).removeprefix("http://").rpartition(":")
    return create_connection((host.strip("[]"), int(port)), timeout=60)


def call(url: str | None, request_line: str, *headers: str) -> tuple[int, bytes]:
    """Status and body of a response."""
    with connect(url) as client:
        client.sendall("\r\n".join([request_line, *headers, "", ""]).encode())
        with client.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize("listen", [ANY_PORT, "localhost:0", "[::1]:0"])
def test_prometheus_reads_the_latest_samples(listen: str):
    """They have the values at the time of the request, and nothing of process or platform."""
    gauges = Gauges()
    with gauges.served(listen) as url:
        assert call(url, "GET /metrics HTTP/1.0") == (200, b"")
        gauges.update(samples_of(NIGHT, None))
        status, body = call(url, "GET /metrics HTTP/1.0")
    assert (status, reported(body)["exit_code run=sync"]) == (200, 0.0)
    assert set(re.findall(rb"^# HELP (pts_worker_)?", body, re.MULTILINE)) == {b"pts_worker_"}
    with pytest.raises(ConnectionRefusedError):
        connect(url)


@pytest.mark.parametrize("address", ["", "127.0.0.1:70000", "a..b:9464"])
def test_an_address_that_cannot_be_listened_on(address: str):
    """Taken, or no address: that is configuration, and the message names the key."""
    with GAUGES.served(ANY_PORT) as url:
        expected = pytest.raises(ConfigurationError, match=r"telemetry\.http_listen")
        with expected, GAUGES.served(address or str(url).removeprefix("http://")):
            pass


def test_strangers_hold_one_descriptor(monkeypatch: pytest.MonkeyPatch, capfd):
    """Idle ones end in turn, or with the server; nothing of a request that fails is printed."""
    bad = "Accept: application/openmetrics-text; version=hunter2"
    with ExitStack() as stack, GAUGES.served(ANY_PORT) as url:
        monkeypatch.setattr("worker.telemetry._Handler.timeout", 0.3)
        files = len(list(FILES.iterdir()))
        idle = [stack.enter_context(connect(url)) for _ in range(8)]
        assert call(url, "GET /metrics HTTP/1.0", bad)[0] == 500
        assert len(list(FILES.iterdir())) <= files + len(idle) + 1
        assert {client.recv(1) for client in idle} == {b""}
        monkeypatch.setattr("worker.telemetry._Handler.timeout", 1e6)
        stack.enter_context(connect(url))
    assert capfd.readouterr().err == ""
