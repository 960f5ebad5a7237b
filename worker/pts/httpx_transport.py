"""The default engine: the port ``HttpTransport`` on httpx.

httpx builds the request and httpcore sends it. Connections are kept without a pool, so that no
DPoP proof ages while it waits for a connection. ``httpx_stream`` checks the received bytes.
"""

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import httpcore
import httpx

from worker.core.content_coding import decoded
from worker.errors import ConfigurationError, ContractError, TransientError, WorkerError
from worker.ports import HttpResponse
from worker.proxy import PROXY_HINT, Proxy, is_refusal, proxy_for, proxy_refusal, status_of_refusal
from worker.pts.httpx_stream import Backend, Stream
from worker.pts.transport import IDLE_S_MAX, USER_AGENT, TransportOptions, header_lines, target_of

_TARGET: Final = "pts.target"
_SINGLE_USE: Final = "pts.single_use"

_Place: TypeAlias = tuple[bytes, bytes, int | None]
"""Scheme, host and port."""


class HttpxTransport:
    """The port ``HttpTransport``."""

    def __init__(self, options: TransportOptions, context: ssl.SSLContext) -> None:
        self._options = options
        self._client = httpx.AsyncClient(
            transport=_Connections(options, context),
            trust_env=False,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            timeout=httpx.Timeout(options.silence_s_max, pool=None),
        )

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """See ``HttpTransport.post``."""
        target = target_of(url)
        header_lines(headers)
        try:
            request = self._client.build_request(
                "POST",
                url,
                headers=[
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in headers.items()
                ],
                content=body,
                extensions={_TARGET: target.path.encode(), _SINGLE_USE: is_single_use},
            )
            async with asyncio.timeout(self._options.attempt_s_max):
                return await self._exchange(request)
        except TimeoutError:
            raise TransientError("no complete response in time") from None
        except WorkerError as error:
            raise error from None
        except httpcore.RemoteProtocolError:
            raise ContractError("the response is not HTTP") from None
        except httpcore.LocalProtocolError:
            raise ConfigurationError("a header to PTS holds invalid characters") from None
        except httpcore.ProxyError as error:
            raise self._proxy_error(error) from None
        except httpx.InvalidURL:
            raise ConfigurationError("the address of PTS is not a URL") from None

    async def aclose(self) -> None:
        """Close all idle connections."""
        await self._client.aclose()

    async def _exchange(self, request: httpx.Request) -> HttpResponse:
        response = await self._client.send(request, stream=True)
        body = bytearray()
        try:
            async for part in response.aiter_raw():
                body += part
        finally:
            await response.aclose()
        stream: Stream = response.extensions["network_stream"]
        stream.check()
        received = stream.take_response()
        if received is None or received.status != response.status_code:
            raise _ambiguous()
        codings = received.headers.get("content-encoding", ())
        content = decoded(body, codings, bytes_max=self._options.response_bytes_max)
        if received.body != content:
            raise _ambiguous()
        return received

    def _proxy_error(self, error: httpcore.ProxyError) -> WorkerError:
        """The error for the proxy's response to CONNECT."""
        proxy, status = self._options.proxy, status_of_refusal(error)
        if proxy is not None and is_refusal(status):
            return proxy_refusal(proxy, status)
        shown = "" if proxy is None else f" {proxy.shown}"
        return TransientError(
            f"the proxy{shown} cannot reach PTS (status {status})", hint=PROXY_HINT
        )


class _Connections(httpx.AsyncBaseTransport):
    """Sends httpx's requests on the most recently used idle connection, or on a new one."""

    def __init__(self, options: TransportOptions, context: ssl.SSLContext) -> None:
        self._options = options
        self._direct = _factory(options, context, None)
        self._proxied = _factory(options, context, options.proxy)
        self._idle: defaultdict[_Place, deque[httpcore.AsyncConnectionInterface]]
        self._idle = defaultdict(deque)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See ``httpx.AsyncBaseTransport``."""
        url = request.url
        place = (url.raw_scheme, url.raw_host, url.port)
        is_single_use = request.extensions[_SINGLE_USE]
        sent = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=place[0], host=place[1], port=place[2], target=request.extensions[_TARGET]
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": request.extensions["timeout"]},
        )
        connection = None if is_single_use else await self._take(place)
        if connection is None:
            is_proxied = proxy_for(self._options.proxy, url.host) is not None
            factory = self._proxied if is_proxied else self._direct
            connection = factory.create_connection(sent.url.origin)
        response = await connection.handle_async_request(sent)

        async def end() -> None:
            await response.aclose()
            if connection.is_idle() and not connection.has_expired() and not is_single_use:
                self._idle[place].append(connection)
            else:
                await connection.aclose()

        # Without headers httpx has no cookie, redirect or content coding to act on.
        return httpx.Response(
            response.status, stream=_Body(response, end), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close all idle connections."""
        while self._idle:
            for connection in self._idle.popitem()[1]:
                await connection.aclose()

    async def _take(self, place: _Place) -> httpcore.AsyncConnectionInterface | None:
        idle = self._idle[place]
        while idle:
            connection = idle.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()
        return None


class _Body(httpx.AsyncByteStream):
    """A response body, passed from httpcore to httpx."""

    def __init__(self, response: httpcore.Response, end: Callable[[], Awaitable[None]]) -> None:
        self._response = response
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    async def aclose(self) -> None:
        """Keep the connection, or close it if the body was not read to the end."""
        await self._end()


def _factory(
    options: TransportOptions, context: ssl.SSLContext, proxy: Proxy | None
) -> httpcore.AsyncConnectionPool:
    """A factory of connections: an httpcore pool that never holds any."""
    return httpcore.AsyncConnectionPool(
        ssl_context=context,
        proxy=None if proxy is None else _for_httpcore(proxy, context),
        keepalive_expiry=IDLE_S_MAX,
        network_backend=Backend(
            connect_s_max=min(options.connect_s_max, options.attempt_s_max),
            body_bytes_max=options.response_bytes_max,
            proxy=proxy,
        ),
    )


def _for_httpcore(proxy: Proxy, context: ssl.SSLContext) -> httpcore.Proxy:
    return httpcore.Proxy(
        proxy.url,
        auth=(proxy.user.encode(), proxy.password.encode()) if proxy.user else None,
        ssl_context=context if proxy.is_tls else None,
    )


def _ambiguous() -> ContractError:
    return ContractError("the response is ambiguous")
