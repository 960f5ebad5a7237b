"""Opens the HTTP engine for PTS (``api.engine``)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

from worker.ports import HttpTransport
from worker.pts.fast_transport import FastTransport
from worker.pts.httpx_transport import HttpxTransport
from worker.pts.transport import TransportOptions
from worker.tls import client_context

Engine: TypeAlias = Literal["httpx", "fast"]


@asynccontextmanager
async def open_transport(
    options: TransportOptions, engine: Engine = "httpx"
) -> AsyncIterator[HttpTransport]:
    """Open an engine; its connections are closed on exit."""
    context = options.tls or client_context()
    if engine == "fast":
        fast = FastTransport(options, context)
        try:
            yield fast
        finally:
            fast.close()
        return
    transport = HttpxTransport(options, context)
    try:
        yield transport
    finally:
        await transport.aclose()
