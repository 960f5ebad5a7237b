"""Trailers of a chunked response are not its headers (RFC 9110 §6.5)."""

import pytest

from tests.support.http.calls import OPTIONS, chunked
from tests.support.raw_server import Reply, raw_server
from worker.http.transport import Transport

pytestmark = pytest.mark.promise("1")

FIELDS = {
    "Retry-After": "3600",
    "DPoP-Nonce": "forged",
    "Link": '<?page=2>; rel="next"',
    "Content-Encoding": "gzip",
    "Transfer-Encoding": "chunked",
}


async def exchange(trailers):
    end = "".join(["0\r\n", *(f"{name}: {value}\r\n" for name, value in trailers.items()), "\r\n"])
    reply = Reply(data=chunked(b"[1]", end=end.encode()))
    async with raw_server(reply) as server, Transport(OPTIONS) as transport:
        got = [await transport.post(server.url, headers={}, body=b"{}") for _ in range(2)]
    return got, server.connections


async def test_a_trailer_adds_no_header():
    """Headers that only trailers name are not there, and the connection is kept."""
    got, connections = await exchange(FIELDS)
    assert {bytes(response.body) for response in got} == {b"[1]"}
    for response in got:
        assert dict(response.headers) == {"transfer-encoding": ["chunked"]}
    assert connections == 1


async def test_a_trailer_that_ends_the_connection():
    """It may: the response is whole, and the next one comes on another."""
    got, connections = await exchange({"Connection": "close"})
    assert [bytes(response.body) for response in got] == [b"[1]"] * 2
    assert connections == 2
