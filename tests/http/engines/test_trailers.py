"""Trailers of a chunked response are not its headers (RFC 9110 §6.5)."""

import pytest

from tests.support.http.calls import OPTIONS, chunked
from tests.support.raw_server import Reply, raw_server

pytestmark = pytest.mark.promise("1")

FIELDS = {
    "Retry-After": "3600",
    "DPoP-Nonce": "forged",
    "Link": '<?page=2>; rel="next"',
    "Content-Length": "1",
    "Content-Encoding": "gzip",
    "Transfer-Encoding": "chunked",
    "Connection": "close",
}


async def exchange(engine, headers, trailers):
    end = "".join(["0\r\n", *(f"{name}: {value}\r\n" for name, value in trailers.items()), "\r\n"])
    lines = tuple(f"{name}: {value}" for name, value in headers.items())
    reply = Reply(data=chunked(b"[1]", headers=lines, end=end.encode()))
    async with raw_server(reply) as server, engine(OPTIONS) as transport:
        got = [await transport.post(server.url, headers={}, body=b"{}") for _ in range(2)]
    return got, server.connections


@pytest.mark.parametrize("name", FIELDS)
async def test_a_trailer_adds_no_header(engine, name):
    """A header that only a trailer names is not there, and the connection is kept."""
    got, connections = await exchange(engine, {}, {name: FIELDS[name]})
    assert {bytes(response.body) for response in got} == {b"[1]"}
    for response in got:
        assert dict(response.headers) == {"transfer-encoding": ("chunked",)}
    assert connections == 1


@pytest.mark.parametrize("name", ["Retry-After", "Link"])
async def test_a_trailer_changes_no_header(engine, name):
    """A header keeps its only value."""
    got, _ = await exchange(engine, {name: "first"}, {name: FIELDS[name], name.lower(): "again"})
    assert [response.headers[name.lower()] for response in got] == [("first",)] * 2
