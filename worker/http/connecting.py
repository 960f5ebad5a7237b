"""Opens connections: addresses, the proxy's tunnel, TLS."""

import asyncio
import base64
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

import aiohappyeyeballs
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from worker.errors import OpenFilesError, TransientError, UnavailableError
from worker.http.connection import Connection
from worker.http.options import TransportOptions
from worker.http.response import HEADER_BYTES_MAX
from worker.proxy import PROXY_HINT, Proxy, is_refusal, proxy_for, proxy_refusal

_NEXT_ADDRESS_S: Final = 0.25
"""Delay before the next address is tried beside the last one (RFC 8305 §5)."""
_FIRST_FINAL_STATUS: Final = 200
_OPEN: Final = range(200, 300)

P = TypeVar("P", bound=asyncio.Protocol)


class Place(NamedTuple):
    """Where a connection leads; ``host`` has no brackets."""

    host: str
    port: int
    is_tls: bool

    @property
    def shown(self) -> str:
        """Host and port, as in a request."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


async def connect(
    place: Place,
    options: TransportOptions,
    tls: ssl.SSLContext,
    new: Callable[[], Connection],
    *,
    until_s: float,
) -> Connection:
    """Open a connection to whichever address answers first, through the proxy if there is one.

    Args:
        until_s: when it must be open at the latest, on the event loop's clock.

    Raises:
        TransientError: it cannot be opened now.
        UnavailableError: a certificate is not accepted.
        ConfigurationError: the proxy refuses.
    """
    proxy = proxy_for(options.proxy, place.host)
    until_s = min(until_s, asyncio.get_running_loop().time() + options.connect_s_max)
    if proxy is None:
        with _explained(options.server):
            async with asyncio.timeout_at(until_s):
                return await _open(place, tls, new)
    with _explained(f"the proxy {proxy.shown}", f"the proxy {proxy.shown}: ", PROXY_HINT):
        async with asyncio.timeout_at(until_s):
            tunnel = await _open(Place(proxy.host, proxy.port, proxy.is_tls), tls, _Tunnel)
            status = await tunnel.ask_for(place, proxy)
    if status not in _OPEN:
        tunnel.transport.abort()
        if is_refusal(status):
            raise proxy_refusal(proxy, status)
        raise TransientError(
            f"the proxy {proxy.shown} cannot reach {options.server} (status {status})",
            hint=PROXY_HINT,
        )
    with _explained(options.server):
        async with asyncio.timeout_at(until_s):
            return await _secured(tunnel, place, tls, new)


async def _open(place: Place, tls: ssl.SSLContext, new: Callable[[], P]) -> P:
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    peer = await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1
    )
    _, protocol = await loop.create_connection(
        new,
        sock=peer,
        ssl=tls if place.is_tls else None,
        server_hostname=place.host if place.is_tls else None,
    )
    return protocol


async def _secured(
    tunnel: "_Tunnel", place: Place, tls: ssl.SSLContext, new: Callable[[], Connection]
) -> Connection:
    """A connection in a tunnel. Only TLS goes through a proxy."""
    connection = new()
    try:
        transport = await asyncio.get_running_loop().start_tls(
            tunnel.transport, connection, tls, server_hostname=place.host
        )
    except BaseException:
        tunnel.transport.abort()
        raise
    if transport is None:
        raise ConnectionAbortedError
    connection.connection_made(transport)
    return connection


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a connection to a server (CONNECT, RFC 9110 §9.3.6)."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._bytes = 0
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ask_for(self, place: Place, proxy: Proxy) -> int:
        """The status of the proxy's answer.

        Raises:
            OSError: there is none.
        """
        lines = [f"CONNECT {place.shown} HTTP/1.1", f"Host: {place.shown}"]
        if proxy.user:
            credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {credentials}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode())
        try:
            return await self._status
        except BaseException:
            self.transport.abort()
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``. What follows the answer before TLS is nobody's."""
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail()
        if self._bytes > HEADER_BYTES_MAX:
            self._fail()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """See ``asyncio.Protocol``."""
        self._fail()

    def on_headers_complete(self) -> None:
        """The end of a head."""
        status = self._parser.get_status_code()
        if status >= _FIRST_FINAL_STATUS and not self._status.done():
            self._status.set_result(status)

    def _fail(self) -> None:
        if not self._status.done():
            self._status.set_exception(ConnectionResetError())


@contextmanager
def _explained(whose: str, prefix: str = "", hint: str = "") -> Iterator[None]:
    """Turn errors of the system into the worker's, without the address."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message or "it cannot be verified"
        raise UnavailableError(
            f"{whose}'s certificate is not accepted: {reason}",
            hint="check the address and this machine's clock; tls.ca_file names a private CA",
        ) from None
    except TimeoutError:
        raise TransientError(f"{prefix}no connection in time", hint=hint) from None
    except socket.gaierror:
        raise TransientError(f"{prefix}the host's name cannot be resolved", hint=hint) from None
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise OpenFilesError from None
        raise TransientError(f"{prefix}no connection ({type(error).__name__})", hint=hint) from None
