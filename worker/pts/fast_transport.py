"""The engine that carries the calls to PTS: the port ``HttpTransport`` on kept connections.

It sends one request and reads one answer. It never resends, since every attempt needs a proof of
its own, never follows a redirect, keeps no cookie and takes no proxy from the environment. A
request never waits for a connection either: if none is idle, one is made.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from worker.core.hosts import is_loopback
from worker.core.value import Value
from worker.errors import ConfigurationError, ContractError, TransientError, UnavailableError
from worker.ports import HttpResponse
from worker.pts.http1 import Connection
from worker.pts.turns import Inbox, Outbox
from worker.tls import client_context

_IDLE_S_MAX: Final = 15.0
"""A connection that has been idle for longer may just be closing on the other side."""
_PORTS: Final = {"https": 443, "http": 80}

_Place: TypeAlias = tuple[str, int, bool]
"""Host, port, and whether TLS is spoken there."""


class TransportOptions(Value, frozen=True, kw_only=True):
    """Limits of the transport.

    Attributes:
        attempt_s_max: the longest time from the first byte sent to the last byte read.
        connect_s_max: the longest time until a connection stands.
        silence_s_max: the longest time between two bytes of an answer.
        answer_bytes_max: a larger answer is refused while it comes in.
        tls: whom to trust; None: the authorities that the system trusts.
        user_agent: what the worker calls itself.
    """

    attempt_s_max: float = 60.0
    connect_s_max: float = 10.0
    silence_s_max: float = 30.0
    answer_bytes_max: int = 16 * 1024 * 1024
    tls: ssl.SSLContext | None = None
    user_agent: str = "pts-sync-worker"


class _Target(Value, frozen=True, kw_only=True):
    """What a URL says: where to connect, and the head of each request to it."""

    place: _Place
    head: str


class FastTransport:
    """The port ``HttpTransport``."""

    def __init__(self, options: TransportOptions, context: ssl.SSLContext) -> None:
        self._options = options
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._loop)
        self._inbox = Inbox(self._loop)
        self._idle: dict[_Place, deque[Connection]] = {}
        self._all: set[Connection] = set()

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        """Send one request and read its answer to the end. See ``HttpTransport``.

        Raises:
            TransientError: no whole answer came: refused, reset, timed out, cut short.
            ContractError: the answer is larger than the limit, or is not HTTP.
            UnavailableError: the server's certificate is not trusted, has expired or is another's.
            ConfigurationError: the URL or a header cannot be used, or the URL is not HTTPS.
        """
        target = _target(url, self._options.user_agent)
        head = f"{target.head}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n"
        connection = self._take(target.place) or await self._connect(target.place)
        answer = await connection.exchange(head.encode("latin-1") + body)
        if connection.is_usable:
            connection.idle_since_s = self._loop.time()
            self._idle.setdefault(target.place, deque()).append(connection)
        else:
            self._drop(connection)
        return answer

    def close(self) -> None:
        """Drop every connection."""
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._idle.clear()

    def _take(self, place: _Place) -> Connection | None:
        """The idle connection that was used last, if one may still be used."""
        idle = self._idle.get(place)
        oldest_s = self._loop.time() - _IDLE_S_MAX
        while idle:
            connection = idle.pop()
            if connection.is_usable and connection.idle_since_s >= oldest_s:
                return connection
            self._drop(connection)
        return None

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._all.discard(connection)

    async def _connect(self, place: _Place) -> Connection:
        host, port, is_tls = place
        self._all = {one for one in self._all if one.is_usable}
        options = self._options
        try:
            async with asyncio.timeout(min(options.connect_s_max, options.attempt_s_max)):
                _, connection = await self._loop.create_connection(
                    self._new, host, port, ssl=self._context if is_tls else None
                )
        except ssl.SSLCertVerificationError as error:
            raise _certificate_error(error) from None
        except TimeoutError:
            raise TransientError("no connection in time") from None
        except socket.gaierror:
            raise TransientError("the host's name cannot be resolved") from None
        except OSError as error:
            raise TransientError(f"no connection ({type(error).__name__})") from None
        self._all.add(connection)
        return connection

    def _new(self) -> Connection:
        return Connection(
            self._loop,
            self._outbox,
            self._inbox,
            body_bytes_max=self._options.answer_bytes_max,
            silence_s_max=self._options.silence_s_max,
            attempt_s_max=self._options.attempt_s_max,
        )


@asynccontextmanager
async def open_transport(options: TransportOptions) -> AsyncIterator[FastTransport]:
    """A transport with its connections; they are closed on leaving."""
    transport = FastTransport(options, options.tls or client_context())
    try:
        yield transport
    finally:
        transport.close()


@lru_cache(maxsize=256)
def _target(url: str, user_agent: str) -> _Target:
    """What a URL says, taken as it stands.

    Raises:
        ConfigurationError: it is no URL, is not HTTPS, or is plain HTTP to another machine.
        ContractError: it holds characters that no request line may hold (RFC 9112 §3.2).
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError("the address of PTS is not a URL") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise ConfigurationError(
            "the address of PTS must begin with https://",
            hint="http:// is accepted for loopback addresses only",
        )
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ContractError("the URL holds characters that must be percent-encoded")
    is_tls = parts.scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[parts.scheme]:
        shown = f"{shown}:{port}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {shown}\r\nUser-Agent: {user_agent}\r\n"
        "Accept-Encoding: identity\r\n"
    )
    return _Target(place=(host, port or _PORTS[parts.scheme], is_tls), head=head)


def _lines(headers: Mapping[str, str]) -> str:
    """The header lines.

    Raises:
        ConfigurationError: a name or value would break its line (RFC 9110 §5.5).
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ConfigurationError("a header to PTS holds a line break")
    return lines


def _certificate_error(error: ssl.SSLCertVerificationError) -> UnavailableError:
    reason = error.verify_message or "it cannot be verified"
    return UnavailableError(
        f"PTS's certificate is not accepted: {reason}",
        hint="look at the address, this machine's clock and the CA file",
    )
