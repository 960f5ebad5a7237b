"""One connection, with the loop's part played by the test: bytes at awkward moments."""

import asyncio
import contextlib
import socket

import pytest

from tests.support.http.calls import OPTIONS, response
from worker.errors import TransientError
from worker.http.connection import IDLE_S_MAX, Connection


@pytest.fixture
async def ends():
    """A connection, the server's socket, and how often the connection has said that it closes."""
    loop = asyncio.get_running_loop()
    client, server = socket.socketpair()
    closed: list[Connection] = []
    _, connection = await loop.create_connection(
        lambda: Connection(OPTIONS, closed.append), sock=client
    )
    with server:
        yield connection, server, closed
        connection.close()
        await asyncio.sleep(0)


async def begin(connection, server):
    """Start an exchange; its request has been sent."""
    exchange = asyncio.ensure_future(connection.exchange(b"POST"))
    assert await asyncio.to_thread(server.recv, 100) == b"POST"
    return exchange


@pytest.mark.promise("1")
async def test_surplus_before_the_response_is_handed_over(ends):
    """A complete response is refused if more bytes arrive before it is read."""
    connection, server, closed = ends
    exchange = await begin(connection, server)
    connection.data_received(response())
    connection.data_received(b" ")
    with pytest.raises(TransientError, match="surplus"):
        await exchange
    assert closed == [connection]


@pytest.mark.promise("1")
@pytest.mark.parametrize("is_read", [False, True], ids=["unread", "read"])
async def test_surplus_before_the_request_is_written(ends, is_read):
    """What has arrived by then is no answer to it, and the request does not go out."""
    connection, server, closed = ends
    first = await begin(connection, server)
    connection.data_received(response())
    await first
    second = asyncio.ensure_future(connection.exchange(b"POST"))
    asyncio.get_running_loop().call_soon(arrive, connection, server, is_read)
    with pytest.raises(TransientError, match="surplus"):
        await second
    assert closed == [connection]
    server.setblocking(False)
    with contextlib.suppress(ConnectionResetError):  # what was never read resets the connection
        assert server.recv(100) == b""


def arrive(connection, server, is_read):
    """Between the begin of an exchange and the next turn of the loop, where it is written."""
    if is_read:
        connection.data_received(response())
    else:
        server.sendall(response())


async def test_an_end_before_the_response_is_handed_over(ends):
    """A complete response stays one if the connection ends before it is read."""
    connection, server, closed = ends
    exchange = await begin(connection, server)
    connection.data_received(response())
    connection.connection_lost(ConnectionResetError())
    assert (await exchange).status == 200
    assert closed == [connection]


async def test_a_cancelled_exchange(ends):
    """Its connection is closed: the response is still to come."""
    connection, server, closed = ends
    exchange = await begin(connection, server)
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert closed == [connection]


@pytest.mark.nightly
async def test_an_idle_connection_is_closed(ends):
    """Before the server closes it, which might be just when the next request is on its way."""
    connection, server, closed = ends
    exchange = await begin(connection, server)
    connection.data_received(response())
    await exchange
    await asyncio.sleep(IDLE_S_MAX / 2)
    assert connection.is_open
    await asyncio.sleep(IDLE_S_MAX / 2 + 10)
    assert closed == [connection]
    assert await asyncio.to_thread(server.recv, 100) == b""
