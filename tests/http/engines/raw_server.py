"""A server on loopback that sends whatever bytes a test tells it to, also such as are no HTTP."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

READ_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came in; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to send, and what to do then: ``keep``, ``close``, ``reset`` or ``hang``.

    ``slices`` above 1 sends that many pieces with ``pause_s`` between them.
    """

    data: bytes
    then: str = "keep"
    slices: int = 1
    pause_s: float = 0.0


def answer(body: bytes = b"[]", *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> Reply:
    """A well-formed answer."""
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return Reply(data="\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@dataclass(slots=True, kw_only=True)
class RawServer:
    """An open server: its address, what it received, what it replies."""

    url: str
    reply: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


def in_turn(*replies: Reply) -> Callable[[Request], Reply]:
    """Each reply once; the last again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextlib.asynccontextmanager
async def raw_server(
    *replies: Reply, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """Serve these replies in turn on a free port."""
    tasks: set[asyncio.Task[None]] = set()
    server = RawServer(url="", reply=in_turn(*(replies or (answer(),))))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            await _serve(server, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
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
    server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.split("\r\n")[:-2]
        fields = (item.partition(":") for item in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(line=line, headers=headers, body=body)
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
    size = max(1, -(-len(reply.data) // reply.slices))
    for start in range(0, len(reply.data), size):
        writer.write(reply.data[start : start + size])
        await writer.drain()
        if reply.slices > 1:
            await asyncio.sleep(reply.pause_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset instead of an end."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
