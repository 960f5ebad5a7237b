"""The monitoring server over real sockets, and clients that mean it harm."""

import asyncio
from contextlib import ExitStack
from http import HTTPStatus
from socket import create_connection, socket

import pytest

from worker.errors import ConfigurationError
from worker.telemetry.http_server import (
    CONNECTIONS_MAX,
    REQUEST_BYTES_MAX,
    Page,
    serve_pages,
)

PAGES = {
    "/": lambda: Page(body=b"hello\n"),
    "/down": lambda: Page(body=b"no\n", status=HTTPStatus.SERVICE_UNAVAILABLE),
}
ANY_PORT = "127.0.0.1:0"


def connect(url: str | None) -> socket:
    host, _, port = str(url).removeprefix("http://").rpartition(":")
    return create_connection((host, int(port)), timeout=60)


def read_all(client: socket) -> bytes:
    """Until the server closes."""
    with client.makefile("rb") as file:
        return file.read()


async def call(url: str | None, request: bytes) -> tuple[int, str, bytes]:
    """Status, headers and body of a response."""

    def exchange() -> bytes:
        with connect(url) as client:
            client.sendall(request)
            return read_all(client)

    head, _, body = (await asyncio.to_thread(exchange)).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode(), body


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET / HTTP/1.1", 200, b"hello\n"),
        ("HEAD / HTTP/1.1", 200, b""),
        ("GET /down HTTP/1.1", 503, b"no\n"),
        ("GET /../../etc/passwd HTTP/1.1", 404, b"404 Not Found\n"),
        ("POST / HTTP/1.1", 405, b"405 Method Not Allowed\n"),
        ("\x00\x01\x02", 400, b"400 Bad Request\n"),
    ],
)
async def test_only_get_and_head(request_line: str, status: int, body: bytes):
    """Each answer closes the connection, is not cached and allows no script and no frame."""
    async with serve_pages(PAGES, ANY_PORT) as url:
        found, head, text = await call(url, f"{request_line}\r\nHost: localhost\r\n\r\n".encode())
    assert (found, text) == (status, body)
    assert "Connection: close" in head
    assert "Content-Security-Policy: default-src 'none';" in head
    assert "X-Content-Type-Options: nosniff" in head
    assert ("Allow: GET, HEAD" in head) == (status == 405)
    if request_line.startswith("HEAD"):
        assert "Content-Length: 6" in head


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Host: 127.0.0.1:9464"], 200),
        (["host: LOCALHOST"], 200),
        (["Host: [::1]:9464"], 200),
        (["Host: evil.example"], 421),
        (["Host: 127.0.0.1@evil.example"], 421),
        (["Host: 10.1.2.3:9464"], 421),
        ([], 400),
        (["Host: localhost", "Host: localhost"], 400),
    ],
)
async def test_a_page_of_another_name_reads_nothing(headers: list[str], status: int):
    """A browser on this machine would show it to that name's page (DNS rebinding)."""
    request = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", *headers, "")).encode()
    async with serve_pages(PAGES, ANY_PORT) as url:
        found, _, body = await call(url, request)
        assert (found, body == b"hello\n") == (status, status == 200)
        assert (await call(url, b"GET / HTTP/1.0\r\n\r\n"))[0] == 200
    async with serve_pages(PAGES, "0.0.0.0:0") as url:  # a probe goes to the address of the pod
        found, _, _ = await call(url, request)
        assert found == (400 if status == 400 else 200)


async def test_a_long_request_is_refused():
    """More than 8 KiB of headers is not kept in memory."""
    async with serve_pages(PAGES, ANY_PORT) as url:
        filler = b"X: " + bytes([97]) * (2 * REQUEST_BYTES_MAX)
        status, _, _ = await call(url, b"GET / HTTP/1.1\r\n" + filler)
    assert status == 431


async def test_many_silent_clients_keep_nobody_out(monkeypatch: pytest.MonkeyPatch):
    """The oldest connection goes first; no more than the limit are kept, however long it has."""
    monkeypatch.setattr("worker.telemetry.http_server.REQUEST_S_MAX", 600.0)
    async with serve_pages(PAGES, ANY_PORT) as url:
        with ExitStack() as stack:
            silent = [stack.enter_context(connect(url)) for _ in range(3 * CONNECTIONS_MAX)]
            status, _, _ = await call(url, b"GET / HTTP/1.0\r\n\r\n")
            assert status == 200
            for client in silent[:CONNECTIONS_MAX]:
                assert await asyncio.to_thread(is_closed, client)


def is_closed(client: socket) -> bool:
    """An orderly end is as good as a reset."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_a_port_that_is_taken_is_configuration():
    """The message names the key."""
    async with serve_pages(PAGES, ANY_PORT) as url:
        with pytest.raises(ConfigurationError, match=r"telemetry\.http_listen"):
            async with serve_pages(PAGES, str(url).removeprefix("http://")):
                pass
