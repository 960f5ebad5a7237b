"""A server on loopback that sends whatever bytes a test has it send, also such as are no HTTP.

It plays a script for each connection, or replies to each request: on threads of its own, so that it
keeps its own time, whatever the client's loop is busy with.
"""

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

READ_S = 60.0
_RESETS = struct.pack("ii", 1, 0)
"""Of SO_LINGER: the other side sees a reset instead of an end."""
BEFORE, AFTER = "before", "after"
"""When ``relay`` cuts a connection."""


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


# A script for each connection.


@dataclass(slots=True, kw_only=True)
class Peer:
    """The server's end of one connection.

    Attributes:
        number: counts connections from 0.
        is_over: set when the server ends.
    """

    number: int
    link: socket.socket
    is_over: threading.Event

    def receive(self) -> tuple[bytes, bytes]:
        """Read one request: its head without the blank line, and its body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._read()
        head, _, body = data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        while len(body) < int(length or 0):
            body += self._read()
        return head, body

    def request(self) -> bytes:
        """Read one request; give its body."""
        return self.receive()[1]

    def send(self, data: bytes) -> None:
        self.link.sendall(data)

    def play(self, reply: Reply) -> bool:
        """Send a reply, and do what is to be done then; whether the connection goes on."""
        if reply.before_s:
            self.is_over.wait(reply.before_s)
        size = max(1, -(-len(reply.data) // max(1, reply.slices)))
        begins = [0, *reply.cuts] if reply.cuts else [*range(0, max(1, len(reply.data)), size)]
        for begin, end in pairwise([*begins, len(reply.data)]):
            self.send(reply.data[begin:end])
            if len(begins) > 1:
                self.is_over.wait(reply.pause_s)  # without a pause, it lets the client read
        if reply.then == "reset":
            self.reset()
        elif reply.then == "hang":
            self.is_over.wait(READ_S)
        return reply.then in {"keep", "hang"}

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
        below = socket.socket(fileno=self.link.fileno())
        try:
            below.sendall(data)
        finally:
            below.detach()  # it would close the connection's own descriptor

    def _read(self) -> bytes:
        data = self.link.recv(65536)
        if not data:
            raise ConnectionError
        return data


@dataclass(slots=True, kw_only=True)
class ScriptedServer:
    """Its address, and how many connections it has accepted."""

    url: str
    script: Callable[[Peer], None]
    tls: ssl.SSLContext | None
    connections: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    links: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def accept(self, listener: socket.socket) -> None:
        """Give each connection a thread, until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                self.links.append(link)
                number, self.connections = self.connections, self.connections + 1
                thread = threading.Thread(target=self.serve, args=(number, link), daemon=True)
                self.threads.append(thread)
                thread.start()

    def serve(self, number: int, link: socket.socket) -> None:
        """Play the script for a connection."""
        link.settimeout(READ_S)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(number=number, link=link, is_over=self.is_over)
        try:
            if self.tls is not None:
                peer.link = self.tls.wrap_socket(
                    link, server_side=True, do_handshake_on_connect=False
                )
                self.links.append(peer.link)
                peer.link.do_handshake()
            self.script(peer)
        except (OSError, ValueError):
            """The client went away, or the test is over."""
        finally:
            peer.link.close()

    def end(self) -> None:
        """Close all connections, and wait for what carries them."""
        self.is_over.set()
        for link in self.links:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(link, socket.SHUT_RDWR)  # also if TLS is in the way
        for thread in self.threads:
            thread.join()


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
    listener = socket.create_server((host, 0), family=family, backlog=500)
    shown = name or (f"[{host}]" if ":" in host else host)
    url = f"{'https' if tls else 'http'}://{shown}:{listener.getsockname()[1]}"
    server = ScriptedServer(url=url, script=script, tls=tls)
    acceptor = threading.Thread(target=server.accept, args=(listener,))
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        server.end()


def relay(
    client: socket.socket, server: socket.socket, strike: Callable[[bytes], str] = lambda _: ""
) -> None:
    """Hand everything on, both ways, until one end is closed.

    Args:
        strike: tells of what the client sends whether to cut the connection ``BEFORE`` that is
            handed on, or ``AFTER`` it was answered, of which the client hears nothing.
    """
    other, is_deaf = {client: server, server: client}, False
    for link in other:
        link.settimeout(None)
    while True:
        pending = [one for one in other if isinstance(one, ssl.SSLSocket) and one.pending()]
        for link in pending or select.select([*other], [], [])[0]:
            data = link.recv(65_536)
            how = strike(data) if link is client else ""
            if not data or how == BEFORE or (link is server and is_deaf):
                return
            is_deaf = is_deaf or how == AFTER
            other[link].sendall(data)


# A reply to each request.


@dataclass(slots=True, kw_only=True)
class RawServer:
    """An open server: its address, what it received, what it replies, one request at a time."""

    url: str = ""
    reply: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def converse(self, peer: Peer) -> None:
        """Answer the requests of one connection."""
        peer.link.settimeout(None)
        self.connections = max(self.connections, peer.number + 1)
        for place in count(1):
            head, body = peer.receive()
            line, *lines = head.decode("latin-1").split("\r\n")
            pairs = (item.partition(":") for item in lines)
            request = Request(
                line=line,
                fields=tuple((name.lower(), value.strip()) for name, _, value in pairs),
                body=body,
                connection=peer.number + 1,
                place=place,
            )
            with self._lock:
                self.requests.append(request)
                reply = self.reply(request)
            if not peer.play(reply):
                return


def in_order(*replies: Reply) -> Callable[[Request], Reply]:
    """Each reply once; the last again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextlib.asynccontextmanager
async def raw_server(
    *replies: Reply, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """Serve these replies in turn on a free port."""
    server = RawServer(reply=in_order(*(replies or (answer(),))))
    with scripted_server(server.converse, tls=tls, name=host) as listening:
        server.url = listening.url
        yield server
