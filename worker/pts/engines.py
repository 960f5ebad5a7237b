"""Opens the engine that carries the calls to PTS (``api.engine``)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.ports import HttpTransport
from worker.pts.fast_transport import FastTransport
from worker.pts.transport import TransportOptions
from worker.tls import client_context


@asynccontextmanager
async def open_transport(options: TransportOptions) -> AsyncIterator[HttpTransport]:
    """The engine with its connections; they are closed on leaving."""
    transport = FastTransport(options, options.tls or client_context())
    try:
        yield transport
    finally:
        transport.close()
