"""A server on loopback that sends whatever bytes a test tells it to, also such as are no HTTP."""

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
    """An answer of PTS."""
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
    tasks: set[asyncio.Task[None]] = set()
    server = RawServer(url="", reply=in_order(*(replies or (answer(),))))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await server.connected(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, backlog=500)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://{host}:{port}"
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


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
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def listening(
    connected: Connected,
    *,
    tls: ssl.SSLContext | None = None,
    ended: Callable[[], None] = lambda: None,
) -> Iterator[int]:
    """Serve on a free port of loopback, in a thread of its own; gives the port.

    Args:
        connected: carries one connection.
        tls: ends TLS on each.
        ended: closes what is left when the serving ends.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # a client that hangs up is no news
    started = threading.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(OSError, EOFError):
                await connected(reader, writer)
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(carry, sock=listener, ssl=tls)
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        ended()
        await asyncio.sleep(0.01)  # what was closed gets the time to be so

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
