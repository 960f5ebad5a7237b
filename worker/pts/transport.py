"""Shared by the engines: options, URL parsing, header lines and TLS errors.

An engine implements the port ``HttpTransport``: one request, one response. It never resends (every
attempt needs a new DPoP proof), follows no redirect, keeps no cookie and reads no proxy from the
environment.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from worker.core.hosts import is_loopback
from worker.core.value import Value
from worker.errors import ConfigurationError, ContractError, UnavailableError
from worker.proxy import Proxy

USER_AGENT: Final = "pts-sync-worker"
IDLE_S_MAX: Final = 15.0
"""After this the server may be closing an idle connection."""
_PORTS: Final = {"https": 443, "http": 80}


class TransportOptions(Value, frozen=True, kw_only=True):
    """Limits of the transport.

    Attributes:
        attempt_s_max: maximum time from the first byte sent to the last byte received.
        silence_s_max: maximum time between two bytes of a response.
        response_bytes_max: maximum size of a response body; reading stops beyond it.
        tls: the TLS context; None: trust the system's certificate authorities.
    """

    attempt_s_max: float = 60.0
    connect_s_max: float = 10.0
    silence_s_max: float = 30.0
    response_bytes_max: int = 16 * 1024 * 1024
    tls: ssl.SSLContext | None = None
    proxy: Proxy | None = None


class Target(Value, frozen=True, kw_only=True):
    """A parsed URL.

    Attributes:
        host: a name or an address, without brackets.
        path: path and query, unchanged.
        head: the first lines of each request to it, up to ``Accept-Encoding``.
    """

    host: str
    port: int
    is_tls: bool
    path: str
    head: str


@lru_cache(maxsize=256)
def target_of(url: str) -> Target:
    """Parse a URL without normalizing it.

    Raises:
        ConfigurationError: it is not a URL, or neither HTTPS nor HTTP to a loopback address.
        ContractError: it holds characters that a request line must not hold (RFC 9112 §3.2).
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
        f"POST {path} HTTP/1.1\r\nHost: {shown}\r\nUser-Agent: {USER_AGENT}\r\n"
        "Accept-Encoding: identity\r\n"
    )
    return Target(host=host, port=port or _PORTS[parts.scheme], is_tls=is_tls, path=path, head=head)


def header_lines(headers: Mapping[str, str]) -> str:
    """Format headers as lines.

    Raises:
        ConfigurationError: a name or value holds a line break or NUL (RFC 9110 §5.5).
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ConfigurationError("a header to PTS holds a line break")
    return lines


def is_clean_end(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the server closed the connection itself, as TLS can prove (RFC 8446 §6.1).

    The event loop does not distinguish a cut connection from one that TLS closed.
    """
    tls = transport.get_extra_info("ssl_object") if transport else None
    if tls is None:
        return True
    try:
        return not tls.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


def why_unconnected(error: OSError) -> str:
    """Why there is no connection, without the address."""
    match error:
        case TimeoutError():
            return "no connection in time"
        case socket.gaierror():
            return "the host's name cannot be resolved"
        case _:
            return f"no connection ({type(error).__name__})"


def certificate_error(
    error: ssl.SSLCertVerificationError, *, whose: str = "PTS"
) -> UnavailableError:
    """The error for a certificate that TLS does not accept."""
    reason = error.verify_message or "it cannot be verified"
    return UnavailableError(
        f"{whose}'s certificate is not accepted: {reason}",
        hint="check the address, this machine's clock and the CA file",
    )
