"""A small HTTP server for monitoring, with bounded time, memory and connections.

It answers GET and HEAD with pages that are ready at once, and closes the connection. A client that
is slow is cut off; when there are too many, the oldest connection goes first, so that nobody can
keep others out. On loopback it answers loopback names alone: a web page can have its own name lead
here (DNS rebinding).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import anyio
import anyio.lowlevel

from worker.core.hosts import is_loopback
from worker.errors import ConfigurationError

CONNECTIONS_MAX: Final = 32
REQUEST_BYTES_MAX: Final = 8192
REQUEST_S_MAX: Final = 5.0
"""Seconds for a request and its response together."""

TEXT: Final = "text/plain; charset=utf-8"
_HEADERS: Final = (
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Connection: close\r\n"
)
_HOST: Final = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::[0-9]*)?")
"""RFC 9110, section 7.2: a name or address, and perhaps a port."""
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A response: text without personal values."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


Pages = Mapping[str, Callable[[], Page]]
"""A function for each path. It returns at once."""


@asynccontextmanager
async def serve_pages(pages: Pages, http_listen: str | None) -> AsyncIterator[str | None]:
    """Serve the pages on ``host:port`` inside the ``async with`` block. Port 0 is a free port.

    Yields:
        The URL, e.g. ``http://127.0.0.1:9464``; None if ``http_listen`` is None.

    Raises:
        ConfigurationError: cannot listen on the address.
    """
    if http_listen is None:
        yield None
        return
    host, _, port = http_listen.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    connections = _Connections(pages)
    try:
        server = await asyncio.start_server(
            connections.accept, host, int(port), limit=REQUEST_BYTES_MAX
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not host:port"
        raise ConfigurationError(
            f"telemetry.http_listen: cannot listen on this address ({reason})",
            hint="choose another port, e.g. 127.0.0.1:9464",
        ) from error
    try:
        addresses = [socket.getsockname()[0] for socket in server.sockets]
        connections.is_local = all(map(is_loopback, addresses))
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await connections.close()


class _Connections:
    """Those that are open, the oldest first.

    Attributes:
        is_local: all come over loopback.
    """

    def __init__(self, pages: Pages) -> None:
        self.is_local = True
        self._pages = pages
        self._open: dict[asyncio.Task[None], None] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task of its own."""
        while len(self._open) >= CONNECTIONS_MAX:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open[task] = None
        task.add_done_callback(lambda done: self._ended(done, writer))

    def _ended(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._open.pop(task, None)
        writer.transport.abort()

    async def close(self) -> None:
        """Cut off all."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.gather(*tasks, return_exceptions=True)
            await anyio.lowlevel.checkpoint()  # the loop closes their sockets

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # OSError: the client has gone.
        with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(REQUEST_S_MAX):
                writer.write(await self._response(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()

    async def _response(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _rendered(_failure(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        method, page = _answer(head, self._pages, is_local=self.is_local)
        return _rendered(page, with_body=method != "HEAD")


def _answer(head: bytes, pages: Pages, *, is_local: bool) -> tuple[str, Page]:
    """Method and page of a request."""
    first, *headers = head.decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, target, "HTTP/1.0" | "HTTP/1.1" as version]:
            make = pages.get(target.partition("?")[0])
        case _:
            return "", _failure(HTTPStatus.BAD_REQUEST)
    pairs = (header.partition(":") for header in headers)
    hosts = [value.strip() for name, _, value in pairs if name.strip().lower() == "host"]
    if len(hosts) > 1 or (version == "HTTP/1.1" and not hosts):  # RFC 9112, section 3.2
        return method, _failure(HTTPStatus.BAD_REQUEST)
    if is_local and not all(map(_is_loopback, hosts)):
        return method, _failure(HTTPStatus.MISDIRECTED_REQUEST)
    if method not in {"GET", "HEAD"}:
        return method, _failure(HTTPStatus.METHOD_NOT_ALLOWED)
    return method, _failure(HTTPStatus.NOT_FOUND) if make is None else make()


def _is_loopback(host: str) -> bool:
    form = _HOST.fullmatch(host)
    return form is not None and is_loopback(form[1] or form[2])


def _failure(status: HTTPStatus) -> Page:
    return Page(status=status, body=f"{status} {status.phrase}\n".encode())


def _rendered(page: Page, *, with_body: bool = True) -> bytes:
    allow = "Allow: GET, HEAD\r\n" if page.status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {page.status} {page.status.phrase}\r\n"
        f"Content-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\n"
        f"Content-Security-Policy: {_POLICY}\r\n"
        f"{allow}{_HEADERS}\r\n"
    )
    return head.encode("latin-1") + (page.body if with_body else b"")
