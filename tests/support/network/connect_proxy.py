"""A CONNECT proxy on raw sockets (RFC 9110 §9.3.6), and servers behind it that only it can name."""

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.raw_server import relay, scripted_server

HEAD_BYTES_MAX = 16_384


@dataclass(slots=True, kw_only=True)
class ConnectProxy:
    """A proxy that listens.

    Attributes:
        url: where clients find it.
        routes: the port on loopback of each ``host:port`` that a client may name.
        credentials: ``user:password`` that it wants; empty: none.
        answers: what it says to some ``host:port`` instead of connecting, e.g. ``403 Forbidden``.
        asked: the targets of all requests, in order.
        heads: the requests as they came.
    """

    url: str
    routes: dict[str, int] = field(default_factory=dict)
    credentials: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        """Carry one connection to its end."""
        head = _read_head(client)
        method, _, rest = head.partition(" ")
        target = rest.partition(" ")[0]
        self.asked.append(target)
        self.heads.append(head)
        status = self._status(method, target, head)
        if status != "200 Connection established":
            client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\nrefuse".encode())
            return
        with socket.create_connection(("127.0.0.1", self.routes[target])) as server:
            client.sendall(f"HTTP/1.1 {status}\r\nVia: 1.1 proxy\r\n\r\n".encode())
            relay(client, server)

    def _status(self, method: str, target: str, head: str) -> str:
        wanted = base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and f"proxy-authorization: basic {wanted}".lower() not in head.lower():
            return "407 Proxy Authentication Required"
        if method != "CONNECT" or target not in {*self.routes, *self.answers}:
            return "403 Forbidden"
        return self.answers.get(target, "200 Connection established")


@contextmanager
def connect_proxy(*, tls: ssl.SSLContext | None = None) -> Iterator[ConnectProxy]:
    """Listen on a free port; with ``tls`` clients speak TLS to the proxy itself."""
    made = ConnectProxy(url="")
    with scripted_server(lambda peer: made.serve(peer.link), tls=tls, name="localhost") as server:
        made.url = server.url
        yield made


def _read_head(client: socket.socket) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        if not data or len(head) > HEAD_BYTES_MAX:
            raise ConnectionError
        head += data
    return head.decode("latin-1")
