"""One connection, with the loop's part played by the test: bytes at awkward moments."""

import asyncio
import socket

import pytest

from tests.support.http.calls import response
from worker.errors import StaleConnectionError, TransientError
from worker.pts.batching import RequestBatcher, ResponseBatcher
from worker.pts.http1 import Connection

SILENCE_S = 10.0


@pytest.fixture
async def ends():
    """A connection and the server's socket."""
    loop = asyncio.get_running_loop()
    client, server = socket.socketpair()
    _, connection = await loop.create_connection(
        lambda: Connection(
            loop,
            client,
            RequestBatcher(loop),
            ResponseBatcher(loop),
            body_bytes_max=1000,
            silence_s_max=SILENCE_S,
            attempt_s_max=60.0,
        ),
        sock=client,
    )
    with server:
        yield connection, server
        connection.close()
        await asyncio.sleep(0)


async def begin(connection, server):
    """Start an exchange; its request has been sent."""
    exchange = asyncio.ensure_future(connection.exchange(b"POST"))
    assert await asyncio.to_thread(server.recv, 100) == b"POST"
    return exchange


async def test_surplus_before_the_response_is_handed_over(ends):
    """A complete response is refused if more bytes arrive before it is read."""
    connection, server = ends
    exchange = await begin(connection, server)
    connection.data_received(response())
    connection.data_received(b" ")
    with pytest.raises(TransientError, match="surplus"):
        await exchange
    assert not connection.is_usable


async def test_bytes_before_the_request_is_sent(ends):
    """A request that waits to be sent stays unsent if bytes come on its connection."""
    connection, server = ends
    exchange = await begin(connection, server)
    connection.data_received(response())
    await exchange
    assert connection.is_usable
    exchange = asyncio.ensure_future(connection.exchange(b"POST"))
    await asyncio.sleep(0)
    connection.data_received(response())
    with pytest.raises(StaleConnectionError):
        await exchange
    assert await asyncio.to_thread(server.recv, 100) == b""


@pytest.mark.nightly
async def test_each_exchange_has_its_own_time(ends):
    """Silence counts from its own request, however long the connection was idle before."""
    connection, server = ends
    exchange = await begin(connection, server)
    connection.data_received(response())
    await exchange
    await asyncio.sleep(SILENCE_S)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    exchange = await begin(connection, server)
    with pytest.raises(TransientError, match="in time"):
        await exchange
    assert loop.time() - began_s >= SILENCE_S
