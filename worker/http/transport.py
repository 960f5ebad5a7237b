"""The HTTP/1.1 transport, for PTS and for httpx.

It never resends a request (every attempt needs a new DPoP proof), follows no redirects, keeps no
cookies and ignores proxy variables. If no connection is idle, it opens a new one.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from typing import Final

import httpx

from worker.core.hosts import is_loopback
from worker.errors import ConfigurationError
from worker.http.budget import ByteBudget, Share
from worker.http.connecting import Endpoint, Proxy, connect
from worker.http.connection import Connection, TransportOptions
from worker.http.response import HttpResponse
from worker.tls import client_context

USER_AGENT: Final = "pts-sync-worker"


class Transport(httpx.AsyncBaseTransport):
    """Sends requests on the connection that was used last, or on a new one.

    Its errors contain neither the request nor the response. ``post`` avoids httpx's request and
    response objects, which would double the cost of an exchange (bench/README.md).

    Args:
        proxy: used for all hosts except loopback.

    Attributes:
        budget: the memory budget of all responses in flight.
    """

    def __init__(self, options: TransportOptions, proxy: Proxy | None = None) -> None:
        self.budget = ByteBudget()
        self._options = options
        self._proxy = proxy
        self._tls = options.tls or client_context()
        self._idle: defaultdict[Endpoint, list[Connection]] = defaultdict(list)
        self._open: set[Connection] = set()

    def idle(self, url: str) -> Connection | None:
        """Take the idle connection that was used last, if any."""
        idle = self._idle[_post_target(url)[0]]
        while idle:
            # The server may have closed it since. The newest is the least likely to be closed.
            if (connection := idle.pop()).is_open:
                return connection
        return None

    async def connect(self, url: str, *, is_single_use: bool = False) -> Connection:
        """Open a connection.

        Args:
            is_single_use: close it after one use.

        Raises:
            TransientError: the connection cannot be opened now.
            UnavailableError: the server's certificate is not trusted, expired or for another host.
            ConfigurationError: the URL is invalid or not HTTPS, or the proxy refuses.
        """
        endpoint, _ = _post_target(url)
        is_plain = endpoint.scheme == "http" and is_loopback(endpoint.host)
        if not endpoint.host or not (endpoint.is_tls or is_plain):
            raise ConfigurationError(
                f"the address of {self._options.server} must begin with https://",
                hint="http:// is accepted for loopback addresses only",
            )
        new = partial(Connection, self._options, self._open.discard, is_single_use=is_single_use)
        connection = await connect(endpoint, self._options, self._tls, self._proxy, new)
        self._open.add(connection)
        return connection

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        connection: Connection | None = None,
        share: Share | None = None,
    ) -> HttpResponse:
        """Send one request and read the complete response.

        Args:
            headers: all headers except the transport's own (``Host``, ``Content-Length``, …).
            connection: to the same endpoint. None: an idle one, or a new one.
            share: the room of the response, from ``budget``.

        Raises:
            TransientError: no complete response: refused, reset, late, not HTTP, truncated, or with
                surplus bytes.
            ContractError: the response is encoded or exceeds the size limit.
            ConfigurationError: a header is invalid.
            WorkerError: as ``connect``.
        """
        _, start = _post_target(url)
        head = _head(start, {**headers, "Content-Length": str(len(body))}.items())
        return await self._exchange(url, head + body, connection, share)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send an httpx request and read its complete response.

        Raises:
            WorkerError: as ``post``.
        """
        start = f"{request.method} {request.url.raw_path.decode('ascii')} HTTP/1.1\r\n"
        raw = request.headers.raw
        head = _head(start, [(name.decode(), value.decode("latin-1")) for name, value in raw])
        response = await self._exchange(str(request.url), head + request.read())
        headers = [(name, text) for name, values in response.headers.items() for text in values]
        stream = httpx.ByteStream(bytes(response.body))
        return httpx.Response(response.status, headers=headers, stream=stream)

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in tuple(self._open):
            connection.close()

    async def _exchange(
        self,
        url: str,
        request: bytes,
        connection: Connection | None = None,
        share: Share | None = None,
    ) -> HttpResponse:
        connection = connection or self.idle(url) or await self.connect(url)
        response = await connection.exchange(request, share)
        if connection.is_open:
            self._idle[_post_target(url)[0]].append(connection)
        return response


@lru_cache(maxsize=256)
def _post_target(url: str) -> tuple[Endpoint, str]:
    """The endpoint of a URL, and the first lines of a POST request to it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ConfigurationError("the address of a request is not a URL") from None
    start = f"POST {parsed.raw_path.decode('ascii')} HTTP/1.1\r\n"
    host = f"Host: {parsed.netloc.decode('ascii')}\r\n"
    client = f"User-Agent: {USER_AGENT}\r\nAccept-Encoding: identity\r\n"
    return Endpoint.of(parsed), f"{start}{host}{client}"


def _head(start: str, fields: Collection[tuple[str, str]]) -> bytes:
    """The head of a request.

    Raises:
        ConfigurationError: a header contains a line break or NUL (RFC 9110 §5.5).
    """
    # Counting line breaks is cheaper than checking each header, and finds every injected one.
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    if lines.count("\n") != len(fields) or lines.count("\r") != len(fields) or "\0" in lines:
        raise ConfigurationError("a header of a request contains a line break")
    return f"{start}{lines}\r\n".encode("latin-1")
