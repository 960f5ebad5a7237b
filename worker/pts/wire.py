"""The engine that carries the calls to PTS: aiohttp behind the port ``Wire``.

It sends one request and reads one answer. It never resends, since every attempt needs a proof of
its own, never follows a redirect, keeps no cookie and takes no proxy from the environment.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from worker.errors import (
    ConfigurationError,
    ContractError,
    TransientError,
    UnavailableError,
    WorkerError,
)
from worker.ports import Answer

_SPARE_CONNECTIONS: Final = 8
"""Connections beyond the concurrency: one that is closing must not make a proof wait in a pool."""

_KEEPALIVE_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOptions:
    """Limits of the wire.

    Attributes:
        concurrency: the most requests at once.
        attempt_s_max: the longest time from the first byte sent to the last byte read.
        connect_s_max: the longest time until a connection stands.
        silence_s_max: the longest time between two bytes of an answer.
        answer_bytes_max: a larger answer is refused while it comes in.
        ca_file: PEM certificates to trust instead of the system's.
        user_agent: what the worker calls itself.
    """

    concurrency: int
    attempt_s_max: float = 60.0
    connect_s_max: float = 10.0
    silence_s_max: float = 30.0
    answer_bytes_max: int = 16 * 1024 * 1024
    ca_file: Path | None = None
    user_agent: str = "pts-sync-worker"


class AiohttpWire:
    """The port ``Wire`` on an open aiohttp session."""

    def __init__(self, session: aiohttp.ClientSession, answer_bytes_max: int) -> None:
        self._session = session
        self._answer_bytes_max = answer_bytes_max

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request and read its answer to the end. See ``Wire``.

        Raises:
            TransientError: no whole answer came: refused, reset, timed out, cut short.
            ContractError: the answer is larger than the limit, or is not HTTP.
            UnavailableError: the server's certificate is not trusted, has expired or is another's.
            ConfigurationError: the URL cannot be used, or is not HTTPS.
        """
        target = _checked(url)
        try:
            async with self._session.post(
                target, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await self._read(response)
                return Answer(status=response.status, headers=_headers(response), body=content)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            # Not chained: these errors hold the URL, and some hold what was received.
            raise _translated(error) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if length is not None and length > self._answer_bytes_max:
            raise self._too_large(response)
        if length is not None and "Content-Encoding" not in response.headers:
            return await response.read()
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._answer_bytes_max:
                raise self._too_large(response)
            parts.append(part)
        return b"".join(parts)

    def _too_large(self, response: aiohttp.ClientResponse) -> ContractError:
        response.close()
        return ContractError(f"an answer of more than {self._answer_bytes_max} bytes")


@asynccontextmanager
async def open_wire(options: WireOptions) -> AsyncIterator[AiohttpWire]:
    """A wire with its connections; they are closed on leaving.

    Raises:
        ConfigurationError: the CA file cannot be read or holds no certificate.
    """
    connector = aiohttp.TCPConnector(
        ssl=_tls(options.ca_file),
        limit=options.concurrency + _SPARE_CONNECTIONS,
        limit_per_host=0,
        keepalive_timeout=_KEEPALIVE_S,
    )
    timeout = aiohttp.ClientTimeout(
        total=options.attempt_s_max,
        sock_connect=options.connect_s_max,
        sock_read=options.silence_s_max,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": options.user_agent},
        trust_env=False,
    ) as session:
        yield AiohttpWire(session, options.answer_bytes_max)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"the CA file {ca_file} cannot be used: {type(error).__name__}",
            hint="give a readable PEM file with the certificates to trust",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@lru_cache(maxsize=256)
def _checked(url: str) -> URL:
    """The URL, taken as it stands.

    Raises:
        ConfigurationError: it is not HTTPS, or plain HTTP to another machine.
    """
    try:
        target = URL(url, encoded=True)
        host = target.host or ""
    except ValueError:
        raise ConfigurationError("the address of PTS is not a URL") from None
    if target.scheme == "https" and host:
        return target
    if target.scheme == "http" and _is_loopback(host):
        return target
    raise ConfigurationError(
        "the address of PTS must begin with https://",
        hint="http:// is accepted for loopback addresses only",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _headers(response: aiohttp.ClientResponse) -> Mapping[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in response.headers.items():
        lower = name.lower()
        headers[lower] = (*headers[lower], value) if lower in headers else (value,)
    return headers


_PROBLEMS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.ConnectionTimeoutError, "no connection in time"),
    (asyncio.TimeoutError, "no whole answer in time"),
    (aiohttp.ClientConnectorDNSError, "the host's name cannot be resolved"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ClientPayloadError, "the answer was cut short or cannot be decoded"),
    (aiohttp.ServerDisconnectedError, "the connection was closed before an answer"),
    (Exception, "the connection broke"),
)
"""What went wrong on the way, the narrower types first; another attempt may do."""


def _translated(error: Exception) -> WorkerError:
    """An error of the engine as one of ours, without a URL or anything received."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _certificate_error(error.certificate_error)
        case aiohttp.ClientResponseError():
            return ContractError("the answer is not HTTP, or its headers are too large")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return ConfigurationError("the address of PTS is not a URL")
        case _:
            problem = next(text for kind, text in _PROBLEMS if isinstance(error, kind))
            cause = getattr(error, "os_error", error)
            return TransientError(f"{problem} ({type(cause).__name__})")


def _certificate_error(error: Exception) -> UnavailableError:
    reason = getattr(error, "verify_message", "") or "it cannot be verified"
    return UnavailableError(
        f"PTS's certificate is not accepted: {reason}",
        hint="look at the address, this machine's clock and the CA file",
    )
