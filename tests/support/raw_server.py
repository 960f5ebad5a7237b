"""A server on loopback that sends whatever bytes a test has it send, also such as are no HTTP.

It replies to each request, or plays a script for each connection: on a thread of the server's, so
that it keeps its own time, whatever the client's loop is busy with.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

READ_S = 60.0
_RESETS = struct.pack("ii", 1, 0)
"""Of SO_LINGER: the other side sees a reset instead of an end."""
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came in; field names in lower case.

    ``connection`` counts those of the server from 1, ``place`` the requests of the connection.
    """

    line: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    place: int

    @property
    def headers(self) -> dict[str, str]:
        """The last field of each name."""
        return dict(self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to send, and what to do then: ``keep``, ``close``, ``reset`` or ``hang``.

    It begins after ``before_s``. ``slices`` pieces of one size, or pieces cut at ``cuts``, go with
    ``pause_s`` between them.
    """

    data: bytes
    then: str = "keep"
    before_s: float = 0.0
    slices: int = 1
    cuts: tuple[int, ...] = ()
    pause_s: float = 0.0


def http(
    body: object = b"",
    *,
    status: str = "200 OK",
    kind: str | None = "application/json",
    headers: Sequence[str] = (),
    length: int | None = None,
    **more: Any,
) -> Reply:
    """A well-formed answer; anything but bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    lines.append(f"Content-Length: {len(content) if length is None else length}")
    head = "\r\n".join((*lines, *headers)) + "\r\n\r\n"
    return Reply(data=head.encode() + content, **more)


def answer(body: bytes = b"[]", *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> Reply:
    return http(body, status=status, headers=headers)


@dataclass(slots=True, kw_only=True)
class RawServer:
    """An open server: its address, what it received, what it replies."""

    url: str
    reply: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        await _serve(self, self.connections, reader, writer)


def in_order(*replies: Reply) -> Callable[[Request], Reply]:
    """Each reply once; the last again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextlib.asynccontextmanager
async def raw_server(
    *replies: Reply, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """Serve these replies in turn on a free port."""
    server = RawServer(url="", reply=in_order(*(replies or (answer(),))))
    with listening(server.connected, tls=tls) as port:
        server.url = f"{'https' if tls else 'http'}://{host}:{port}"
        yield server


async def _serve(
    server: RawServer,
    connection: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    for place in count(1):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.split("\r\n")[:-2]
        pairs = (item.partition(":") for item in lines)
        fields = tuple((name.lower(), value.strip()) for name, _, value in pairs)
        body = await reader.readexactly(int(dict(fields).get("content-length", "0")))
        request = Request(line=line, fields=fields, body=body, connection=connection, place=place)
        server.requests.append(request)
        reply = server.reply(request)
        await _send(writer, reply)
        if reply.then == "close":
            return
        if reply.then == "reset":
            _reset(writer)
            return
        if reply.then == "hang":
            await asyncio.sleep(READ_S)


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    await asyncio.sleep(reply.before_s)
    size = max(1, -(-len(reply.data) // reply.slices))
    begins = [0, *reply.cuts] if reply.cuts else [*range(0, max(1, len(reply.data)), size)]
    for begin, end in pairwise([*begins, len(reply.data)]):
        writer.write(reply.data[begin:end])
        await writer.drain()
        if len(begins) > 1:
            await asyncio.sleep(reply.pause_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset instead of an end."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
    writer.transport.abort()


@contextlib.contextmanager
def listening(
    connected: Connected,
    *,
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """Serve on a free port of loopback, in a thread of its own; gives the port.

    Args:
        connected: carries one connection.
        tls: ends TLS on each.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # a client that hangs up is no news
    started = threading.Event()
    writers: set[asyncio.StreamWriter] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(OSError, EOFError):
                await connected(reader, writer)
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(carry, sock=listener, ssl=tls, backlog=500)
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01 if tls else 0.001)  # what was closed gets the time to be so

    main = loop.create_task(serve())

    def run() -> None:
        loop.run_until_complete(main)
        loop.close()

    thread = threading.Thread(target=run, name="front", daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield listener.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(main.cancel)
        thread.join(30)


# A script for each connection.


@dataclass(slots=True, kw_only=True)
class Peer:
    """The server's end of one connection; ``number`` counts connections from 0."""

    number: int
    link: socket.socket

    def request(self) -> bytes:
        """Read one request; give its body."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._read()
        head, _, body = head.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._read()
        return body

    def send(self, data: bytes) -> None:
        self.link.sendall(data)

    def closed_by_client(self) -> bool:
        """Wait until the client sends more or closes; whether it has closed."""
        try:
            return self.link.recv(1) == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        self.link.close()

    def inject(self, data: bytes) -> None:
        """Write below TLS."""
        with socket.socket(fileno=self.link.fileno()) as below:
            below.sendall(data)
            below.detach()

    def _read(self) -> bytes:
        data = self.link.recv(65536)
        if not data:
            raise ConnectionError
        return data


@dataclass(slots=True, kw_only=True)
class ScriptedServer:
    """Its address, and how many connections it has accepted."""

    url: str
    connections: int = 0
    threads: list[threading.Thread] = field(default_factory=list)
    links: list[socket.socket] = field(default_factory=list)


@contextlib.contextmanager
def scripted_server(
    script: Callable[[Peer], None],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    name: str = "",
) -> Iterator[ScriptedServer]:
    """Run ``script`` for each connection to a free port; ``name`` is what the URL says for it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    shown = name or (f"[{host}]" if ":" in host else host)
    scheme = "https" if tls else "http"
    server = ScriptedServer(url=f"{scheme}://{shown}:{listener.getsockname()[1]}")

    def serve(number: int, link: socket.socket) -> None:
        link.settimeout(READ_S)
        # The client went away, or the test is over.
        with contextlib.suppress(OSError, ValueError):
            if tls is not None:
                link = tls.wrap_socket(link, server_side=True, do_handshake_on_connect=False)
                server.links.append(link)
                link.do_handshake()
            script(Peer(number=number, link=link))
        link.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                server.links.append(link)
                number, server.connections = server.connections, server.connections + 1
                thread = threading.Thread(target=serve, args=(number, link))
                server.threads.append(thread)
                thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for link in server.links:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(link, socket.SHUT_RDWR)  # also if TLS is in the way
        for thread in server.threads:
            thread.join()
