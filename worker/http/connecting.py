"""Opens connections: addresses, TLS, and the tunnel through a proxy (``network.proxy_url``).

``HTTP_PROXY``, ``NO_PROXY`` and similar variables are ignored.
"""

import asyncio
import base64
import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import aiohappyeyeballs
import anyio.to_thread
import httpx

from worker.core.hosts import HELSENETT, is_loopback
from worker.core.retry import is_transient
from worker.core.value import Value
from worker.errors import (
    ConfigurationError,
    HostNameError,
    LateError,
    TransientError,
    UnavailableError,
)
from worker.http.connection import Connection, TransportOptions
from worker.trusted_files import read_trusted

_NEXT_ADDRESS_S: Final = 0.25
"""Delay before the next address is tried in parallel (RFC 8305 §5)."""
_CREDENTIALS: Final = "network.proxy_credentials_file"
_PROXY_HINT: Final = "check network.proxy_url, and the proxy"
_SUCCESS: Final = range(200, 300)
_CREDENTIALS_REQUIRED: Final = 407
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


class Endpoint(NamedTuple):
    """The endpoint of a connection. ``host`` has no brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> "Endpoint":
        """The endpoint of a URL."""
        default = 443 if url.scheme == "https" else 80
        return cls(url.scheme, url.raw_host.decode("ascii"), url.port or default)

    @property
    def is_tls(self) -> bool:
        """Whether the endpoint uses TLS."""
        return self.scheme == "https"

    @property
    def host_and_port(self) -> str:
        """Host and port, as in a request."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Proxy(Value, frozen=True, kw_only=True):
    """An HTTP proxy that supports CONNECT (RFC 9110 §9.3.6).

    Attributes:
        url: ``http://host:port`` or ``https://host:port``, without credentials.
        credentials: ``user:password``, or empty.
    """

    hidden = frozenset({"credentials"})

    url: str
    credentials: str = ""

    @property
    def endpoint(self) -> Endpoint:
        """Its endpoint."""
        return Endpoint.of(httpx.URL(self.url))


def read_proxy(url: str | None, credentials_file: Path | None) -> Proxy | None:
    """The configured proxy. The credentials file has one line, ``user:password``.

    Raises:
        ConfigurationError: the file cannot be read or has another format.
    """
    if url is None or credentials_file is None:
        return None if url is None else Proxy(url=url)
    content = read_trusted(credentials_file, key=_CREDENTIALS, is_secret=True)
    text = content.decode(errors="replace").rstrip("\r\n")
    if not (text.find(":") > 0 and text.isascii() and text.isprintable()):
        # RFC 7617 §2.1 leaves the encoding of other characters undefined.
        raise ConfigurationError(
            f"{_CREDENTIALS}: {credentials_file} must contain one line, user:password, in ASCII"
        )
    return Proxy(url=url, credentials=text)


async def connect(
    endpoint: Endpoint,
    options: TransportOptions,
    tls: ssl.SSLContext,
    proxy: Proxy | None,
    new_connection: Callable[[], Connection],
) -> Connection:
    """Open a connection to the first address that answers.

    Args:
        proxy: used for all hosts except loopback.

    Raises:
        TransientError: the connection cannot be opened now.
        UnavailableError: a certificate is not accepted.
        ConfigurationError: the proxy refuses, or this process has too many open files.
    """
    if proxy is None or is_loopback(endpoint.host):
        with _converted_errors(options.server, host=endpoint.host):
            async with asyncio.timeout(options.attempt_s_max):
                _, connection = await _open(endpoint, tls, new_connection)
                return connection
    # Each step has its own deadline and its own error: operators must see which host failed.
    peer_name = f"the proxy {proxy.endpoint.host_and_port}"
    with _converted_errors(peer_name, f"{peer_name}: ", _PROXY_HINT):
        async with asyncio.timeout(options.attempt_s_max):
            tunnel = await _tunnel(endpoint, tls, proxy, options.server)
    with _converted_errors(options.server):
        async with asyncio.timeout(options.attempt_s_max):
            return await _start_tls(tunnel, endpoint, tls, new_connection())


async def _open(
    endpoint: Endpoint, tls: ssl.SSLContext, new_protocol: Callable[[], ProtocolT]
) -> tuple[asyncio.Transport, ProtocolT]:
    look_up = partial(socket.getaddrinfo, endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    # Not the loop's own look-up: a silent name server would delay the end of the process.
    addresses = await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True)
    # Addresses are tried in parallel: a broken IPv6 route must not cost a time-out per connection.
    peer = await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1
    )
    return await asyncio.get_running_loop().create_connection(
        new_protocol,
        sock=peer,
        ssl=tls if endpoint.is_tls else None,
        server_hostname=endpoint.host if endpoint.is_tls else None,
    )


async def _tunnel(
    endpoint: Endpoint, tls: ssl.SSLContext, proxy: Proxy, server: str
) -> asyncio.Transport:
    """A connection to the proxy that is a tunnel to the server."""
    response = asyncio.StreamReader()
    new_protocol = partial(asyncio.StreamReaderProtocol, response)
    tunnel, _ = await _open(proxy.endpoint, tls, new_protocol)
    try:
        tunnel.write(_connect_request(endpoint, proxy))
        _check_connect_response(await response.readuntil(b"\r\n\r\n"), proxy, server)
    except BaseException:
        tunnel.abort()
        raise
    return tunnel


async def _start_tls(
    tunnel: asyncio.Transport, endpoint: Endpoint, tls: ssl.SSLContext, connection: Connection
) -> Connection:
    """TLS with the server through the tunnel. Nothing goes through a proxy without TLS."""
    try:
        transport = await asyncio.get_running_loop().start_tls(
            tunnel, connection, tls, server_hostname=endpoint.host
        )
    except BaseException:
        tunnel.abort()
        raise
    # asyncio returns None if the peer closed the connection during the handshake.
    if transport is None:
        raise ConnectionAbortedError
    connection.connection_made(transport)
    return connection


def _connect_request(endpoint: Endpoint, proxy: Proxy) -> bytes:
    lines = [f"CONNECT {endpoint.host_and_port} HTTP/1.1", f"Host: {endpoint.host_and_port}"]
    if proxy.credentials:
        credentials = base64.b64encode(proxy.credentials.encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {credentials}")
    return "\r\n".join([*lines, "", ""]).encode()


def _check_connect_response(head: bytes, proxy: Proxy, server: str) -> None:
    match = _STATUS_LINE.match(head)
    status = int(match[1]) if match else 0
    if status in _SUCCESS:
        return
    problem = (
        f"the proxy {proxy.endpoint.host_and_port} does not allow a connection to {server} "
        f"(status {status})"
    )
    # A proxy that is overloaded or restarting must not stop the run for good.
    if not status or is_transient(status):
        raise TransientError(problem, hint=_PROXY_HINT)
    hint = "allow CONNECT to the addresses of HelseID and PTS in the proxy"
    if status == _CREDENTIALS_REQUIRED:
        hint = f"{_CREDENTIALS} must name a file with one line, user:password (HTTP Basic)"
    raise ConfigurationError(problem, hint=hint)


@contextmanager
def _converted_errors(
    peer_name: str, prefix: str = "", hint: str = "", *, host: str = ""
) -> Iterator[None]:
    """Convert operating-system errors to errors of the worker, without the address.

    Args:
        peer_name: the owner of the certificate, for the message about it.
        prefix: the beginning of all other messages. Empty if the caller names the peer.
        host: the host name that is looked up, for the hint about Helsenett.
    """
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        # Cut at the comma, because the host name follows it, and that of the ping is a secret.
        reason = (error.verify_message or "it cannot be verified").partition(",")[0]
        raise UnavailableError(
            f"{peer_name}'s certificate is not accepted: {reason}",
            hint="check the address and this machine's clock; for a private CA, set tls.ca_file",
        ) from None
    except TimeoutError:
        raise LateError(f"{prefix}no connection in time", hint=hint) from None
    except socket.gaierror:
        problem = f"{prefix}the host's name cannot be resolved"
        if host in HELSENETT:
            problem += "; it is known only on Helsenett"
            hint = "connect this machine to Helsenett and its DNS; test-internet needs neither"
        raise HostNameError(problem, hint=hint) from None
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise ConfigurationError(
                "too many open files: no connection can be opened",
                hint="raise the limit of this process (`ulimit -n`, LimitNOFILE=), or lower "
                "sync.concurrency",
            ) from None
        raise TransientError(f"{prefix}no connection ({type(error).__name__})", hint=hint) from None
