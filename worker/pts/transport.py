"""The port ``HttpTransport``: one POST to PTS, and its response."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache

import httpx

from worker.errors import ConfigurationError
from worker.http.options import TransportOptions
from worker.http.transport import SINGLE_USE, USER_AGENT, Transport, body_of, headers_of
from worker.ports import HttpResponse, HttpTransport


@asynccontextmanager
async def open_transport(options: TransportOptions) -> AsyncIterator[HttpTransport]:
    """Open the way to PTS; idle connections are closed on exit."""
    async with Transport(options) as transport:
        yield PtsTransport(transport)


class PtsTransport:
    """The port ``HttpTransport``.

    It hands its requests to the transport directly: httpx's client, which has nothing to do here,
    would take three times the processor time of both objects (docs/performance.md).
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """See ``HttpTransport.post``."""
        parsed, own_headers = _target(url)
        # With a stream httpx adds no headers of its own, which takes as long as all the rest.
        request = httpx.Request(
            "POST",
            parsed,
            headers={**own_headers, **headers, "Content-Length": str(len(body))},
            stream=httpx.ByteStream(body),
            extensions={SINGLE_USE: is_single_use},
        )
        response = await self._transport.handle_async_request(request)
        return HttpResponse(
            status=response.status_code, headers=headers_of(response), body=body_of(response)
        )


@lru_cache(maxsize=256)
def _target(url: str) -> tuple[httpx.URL, Mapping[str, str]]:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ConfigurationError("the address of PTS is not a URL") from None
    host = parsed.netloc.decode("ascii")
    return parsed, {"Host": host, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
