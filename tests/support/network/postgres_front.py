"""What may answer in a PostgreSQL's place: a front that ends TLS, or a thief of passwords.

The wheel's server has no TLS of its own. A front speaks the start of PostgreSQL's protocol, TLS
included (PostgreSQL manual, section 54.2.11, "SSL Session Encryption"), and hands the rest on.
"""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import make_url

from tests.support.raw_server import BEFORE, Peer, relay, scripted_server

HOST = "0.0.0.0"  # noqa: S104 - to connect to: no loopback address, and yet this machine (ip(7))
SSL_REQUEST = 80_877_103
CLEAR_PASSWORD = b"R" + struct.pack("!ii", 8, 3)


@dataclass(kw_only=True)
class Front:
    """Answers in the place of the server.

    Attributes:
        server_url: of the real server; None for a thief, who asks for the password in clear.
        tls: what it shows; None to answer that there is no TLS.
        strike: whether a connection is cut at what the client sends, its first message included;
            see ``relay``.
        port: where it listens.
        connections: how many came.
        secured: how many of them went over to TLS.
        passwords: what was sent to a thief.
    """

    server_url: str | None = None
    tls: ssl.SSLContext | None = None
    strike: Callable[[bytes], str] = lambda _: ""
    port: int = 0
    connections: int = 0
    secured: int = 0
    passwords: list[bytes] = field(default_factory=list)

    def url(self, database: str | None = None, query: str = "") -> str:
        """The URL of a database behind it, with a password."""
        name = database or (make_url(self.server_url).database if self.server_url else "pts")
        return f"postgresql://postgres:hemmelig@{HOST}:{self.port}/{name}{query}"

    def carry(self, peer: Peer) -> None:
        """Carry one connection to its end."""
        self.connections += 1
        code, start = read_start(peer.link)
        if code == SSL_REQUEST:
            peer.send(b"N" if self.tls is None else b"S")
            if self.tls is not None:
                peer.link = self.tls.wrap_socket(peer.link, server_side=True)
                self.secured += 1
            code, start = read_start(peer.link)
        if self.server_url is None:
            self._steal(peer.link)
            return
        if self.strike(start) == BEFORE:
            return
        with open_server(self.server_url) as there:
            there.sendall(start)
            relay(peer.link, there, self._struck)

    def _struck(self, data: bytes) -> str:
        """By what is set now: a test changes it while connections are open."""
        return self.strike(data)

    def _steal(self, link: socket.socket) -> None:
        link.sendall(CLEAR_PASSWORD)
        kind, size = struct.unpack("!ci", _exactly(link, 5))
        body = _exactly(link, size - 4)
        if kind == b"p":
            self.passwords.append(body)


def read_start(link: socket.socket) -> tuple[int, bytes]:
    """The first message of a connection: its code, and all of it."""
    head = _exactly(link, 8)
    size, code = struct.unpack("!ii", head)
    return code, head + _exactly(link, size - 8)


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def open_server(server_url: str) -> socket.socket:
    """A connection to the real server, whose socket the URL names."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(f"{make_url(server_url).query['host']}/.s.PGSQL.5432")
    return link


@contextmanager
def front(server_url: str | None = None, *, tls: ssl.SSLContext | None = None) -> Iterator[Front]:
    """A front before that server, or a thief."""
    made = Front(server_url=server_url, tls=tls)
    with scripted_server(made.carry) as server:
        made.port = server.port
        yield made
