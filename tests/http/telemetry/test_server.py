"""`/metrics` over real sockets, as prometheus-client serves it."""

import re
from socket import create_connection, socket

import pytest

from tests.support.http.reports import NIGHT, reported
from worker.errors import ConfigurationError
from worker.telemetry import Board, samples_of

ANY_PORT = "127.0.0.1:0"
BOARD = Board(samples_of(NIGHT, None))


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
    """They are the board's, at the time of the request, and nothing of process or platform."""
    board = Board()
    with board.served(listen) as url:
        assert call(url, "GET /metrics HTTP/1.0") == (200, b"")
        board.post(samples_of(NIGHT, None))
        status, body = call(url, "GET /metrics HTTP/1.0")
    assert status == 200
    assert reported(body)["exit_code run=sync"] == 0.0
    assert set(re.findall(rb"^# HELP (pts_worker_)?", body, re.MULTILINE)) == {b"pts_worker_"}
    with pytest.raises(ConnectionRefusedError):
        connect(url)


def test_a_port_that_is_taken_is_configuration():
    """The message names the key."""
    with BOARD.served(ANY_PORT) as url:
        taken = str(url).removeprefix("http://")
        expected = pytest.raises(ConfigurationError, match=r"telemetry\.http_listen")
        with expected, BOARD.served(taken):
            pass
