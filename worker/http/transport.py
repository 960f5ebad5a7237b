"""The one way out over HTTP/1.1, for PTS and as a transport for httpx.

It never resends (every attempt needs a new DPoP proof), follows no redirect, keeps no cookie and
reads no proxy from the environment. A request never waits for a connection: if none is idle, a new
one is opened, so that no proof ages in a queue.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

import httpx

from worker.core.hosts import is_loopback
from worker.errors import ConfigurationError
from worker.http.connecting import Place, connect
from worker.http.connection import Connection, TransportOptions
from worker.http.response import HttpResponse
from worker.tls import client_context

USER_AGENT: Final = "pts-sync-worker"
_PORTS: Final = {"https": 443, "http": 80}


class Transport(httpx.AsyncBaseTransport):
    """Sends requests on the connection that was used last, or on a new one.

    It raises the worker's errors, which hold neither the request nor what was received. A run
    posts so often that httpx's requests and responses, which have nothing to do there, would cost
    as much as the rest (docs/scale.md): hence ``post``.
    """

    def __init__(self, options: TransportOptions) -> None:
        self._options = options
        self._tls = options.tls or client_context()
        self._idle: defaultdict[Place, list[Connection]] = defaultdict(list)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """Send one request and read the complete response.

        Args:
            headers: all headers but the transport's own (``Host``, ``Content-Length``, …).
            is_single_use: use a new connection for this request only.

        Raises:
            TransientError: no complete response: refused, reset, timed out, truncated, or followed
                by surplus bytes.
            ContractError: the response exceeds the size limit or is not HTTP.
            UnavailableError: the server's certificate is not trusted, expired or for another host.
            ConfigurationError: the URL or a header is invalid, the URL is not HTTPS, or the proxy
                refuses.
        """
        place, start = _post_to(url)
        head = _head(start, {**headers, "Content-Length": str(len(body))}.items())
        return await self._exchange(place, head + body, is_single_use=is_single_use)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request of httpx and read its complete response.

        Raises:
            WorkerError: as ``post``.
        """
        start = f"{request.method} {request.url.raw_path.decode('ascii')} HTTP/1.1\r\n"
        raw = request.headers.raw
        head = _head(start, [(name.decode(), value.decode("latin-1")) for name, value in raw])
        response = await self._exchange(_place(request.url), head + request.read())
        headers = [(name, one) for name, values in response.headers.items() for one in values]
        stream = httpx.ByteStream(bytes(response.body))
        return httpx.Response(response.status, headers=headers, stream=stream)

    async def aclose(self) -> None:
        """Close all idle connections. Those in use are closed with their exchange."""
        for connection in [one for idle in self._idle.values() for one in idle]:
            connection.close()

    async def _exchange(
        self, place: Place, request: bytes, *, is_single_use: bool = False
    ) -> HttpResponse:
        until_s = asyncio.get_running_loop().time() + self._options.attempt_s_max
        connection = None if is_single_use else self._take(place)
        if connection is None:
            connection = await self._connect(place, until_s)
        response = await connection.exchange(request, until_s)
        if is_single_use:
            connection.close()
        elif connection.is_open:
            self._idle[place].append(connection)
        return response

    def _take(self, place: Place) -> Connection | None:
        """The most recently used idle connection on which nothing has arrived."""
        idle = self._idle[place]
        while idle:
            connection = idle.pop()
            if connection.is_clean():
                return connection
            connection.close()
        return None

    async def _connect(self, place: Place, until_s: float) -> Connection:
        is_plain = place.scheme == "http" and is_loopback(place.host)
        if not place.host or not (place.is_tls or is_plain):
            raise ConfigurationError(
                f"the address of {self._options.server} must begin with https://",
                hint="http:// is accepted for loopback addresses only",
            )
        loop = asyncio.get_running_loop()

        def new() -> Connection:
            return Connection(loop, self._options, self._forget)

        return await connect(place, self._options, self._tls, new, until_s=until_s)

    def _forget(self, connection: Connection) -> None:
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)


@lru_cache(maxsize=256)
def _post_to(url: str) -> tuple[Place, str]:
    """Where a POST request goes, and how it begins."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ConfigurationError("the address of PTS is not a URL") from None
    start = f"POST {parsed.raw_path.decode('ascii')} HTTP/1.1\r\n"
    host = f"Host: {parsed.netloc.decode('ascii')}\r\n"
    own = f"User-Agent: {USER_AGENT}\r\nAccept-Encoding: identity\r\n"
    return _place(parsed), f"{start}{host}{own}"


def _place(url: httpx.URL) -> Place:
    host = url.raw_host.decode("ascii")
    return Place(url.scheme, host, url.port or _PORTS.get(url.scheme, 0))


def _head(start: str, fields: Collection[tuple[str, str]]) -> bytes:
    """The head of a request.

    Raises:
        ConfigurationError: a header holds a line break or NUL (RFC 9110 §5.5).
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    if lines.count("\n") != len(fields) or lines.count("\r") != len(fields) or "\0" in lines:
        raise ConfigurationError("a header of a request holds a line break")
    return f"{start}{lines}\r\n".encode("latin-1")
