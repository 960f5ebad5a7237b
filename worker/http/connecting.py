"""Opens connections: addresses, the proxy's tunnel, TLS."""

import asyncio
import base64
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

import aiohappyeyeballs
import anyio.to_thread

from worker.core.hosts import HELSENETT
from worker.errors import (
    ContractError,
    OpenFilesError,
    TransientError,
    UnavailableError,
)
from worker.http.connection import Connection, TransportOptions
from worker.http.proxy import PROXY_HINT, Proxy, proxy_for, proxy_refusal
from worker.http.response import SUCCESS

_NEXT_ADDRESS_S: Final = 0.25
"""Delay before the next address is tried beside the last one (RFC 8305 §5)."""


class Place(NamedTuple):
    """Where a connection leads; ``host`` has no brackets."""

    scheme: str
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme == "https"

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
        with _explained(options.server, host=place.host):
            async with asyncio.timeout_at(until_s):
                return await _open(place, tls, new)
    with _explained(f"the proxy {proxy.shown}", f"the proxy {proxy.shown}: ", PROXY_HINT):
        async with asyncio.timeout_at(until_s):
            there = Place("https" if proxy.is_tls else "http", proxy.host, proxy.port)
            tunnel = await _open(there, tls, new)
            answer = await tunnel.exchange(_wish(place, proxy), until_s, opens_tunnel=True)
    if answer.status not in SUCCESS:
        tunnel.close()
        raise proxy_refusal(proxy, answer.status, options.server)
    with _explained(options.server):
        async with asyncio.timeout_at(until_s):
            return await _secured(tunnel.release(), place, tls, new())


async def _open(place: Place, tls: ssl.SSLContext, new: Callable[[], Connection]) -> Connection:
    loop = asyncio.get_running_loop()
    look_up = partial(socket.getaddrinfo, place.host, place.port, type=socket.SOCK_STREAM)
    # The loop's own would hold up the end of the process for as long as a name server is silent.
    addresses = await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True)
    peer = await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1
    )
    _, connection = await loop.create_connection(
        new,
        sock=peer,
        ssl=tls if place.is_tls else None,
        server_hostname=place.host if place.is_tls else None,
    )
    return connection


async def _secured(
    tunnel: asyncio.Transport, place: Place, tls: ssl.SSLContext, connection: Connection
) -> Connection:
    """TLS with the server, in a tunnel: nothing else goes through a proxy."""
    try:
        transport = await asyncio.get_running_loop().start_tls(
            tunnel, connection, tls, server_hostname=place.host
        )
    except BaseException:
        tunnel.abort()
        raise
    if transport is None:
        raise ConnectionAbortedError
    connection.connection_made(transport)
    return connection


def _wish(place: Place, proxy: Proxy) -> bytes:
    """Asks the proxy for a connection to a server (CONNECT, RFC 9110 §9.3.6)."""
    lines = [f"CONNECT {place.shown} HTTP/1.1", f"Host: {place.shown}"]
    if proxy.user:
        credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {credentials}")
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def _explained(whose: str, prefix: str = "", hint: str = "", *, host: str = "") -> Iterator[None]:
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
        problem = f"{prefix}the host's name cannot be resolved"
        if host in HELSENETT:
            problem += "; it is known on Helsenett alone"
            hint = "connect this machine to Helsenett and its DNS; test-internet needs neither"
        raise TransientError(problem, hint=hint) from None
    except (TransientError, ContractError) as error:
        raise TransientError(f"{prefix}{error.message}", hint=hint) from None
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise OpenFilesError from None
        raise TransientError(f"{prefix}no connection ({type(error).__name__})", hint=hint) from None
