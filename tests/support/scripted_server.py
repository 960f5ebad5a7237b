"""A server whose side of each connection is a script on a thread, so that it keeps its own time."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

WAIT_S = 60.0


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
        """Send all of it."""
        self.link.sendall(data)

    def closed_by_client(self) -> bool:
        """Wait until the client sends more or closes; whether it has closed."""
        try:
            return self.link.recv(1) == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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
        link.settimeout(WAIT_S)
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
