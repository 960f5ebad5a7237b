"""What a response may hold, to the byte, and how soon it is refused if it holds more."""

import time

import pytest

from tests.support.http.calls import OPTIONS, chunked, outcome, response
from tests.support.raw_server import Reply, raw_server, scripted_server
from worker.errors import ContractError, TransientError
from worker.http.transport import Transport

pytestmark = pytest.mark.promise("10")

LIMIT = OPTIONS.response_bytes_max
BLOCK = 65_536
START = b"HTTP/1.1 200 OK\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "field value": (START + b"X-A: ", b"x"),
    "fields": (START, b"X-A: b\r\n"),
    "interim responses": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "chunk extension": (CHUNKED + b"1;", b"a"),
    "size of a chunk": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"3\r\n[1]\r\n0\r\n", b"X-A: b\r\n"),
    "chunk": (CHUNKED + b"2000\r\n", b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "declared body": (START + b"Content-Length: 99999999\r\n\r\n", b" "),
    "zero bytes": (b"", b"\0"),
}
NO_HTTP = ("chunk", "zero bytes")


@pytest.mark.parametrize("name", ENDLESS)
async def test_endless_responses(name):
    """What has no end is refused while it arrives, before the sockets' buffers are full twice."""
    start, repeated = ENDLESS[name]
    block = repeated * (BLOCK // len(repeated))
    sent = []

    def script(peer):
        peer.request()
        peer.send(start)
        for _ in range(2000):
            peer.send(block)
            sent.append(len(block))

    begin = time.monotonic()
    with scripted_server(script) as server:
        async with Transport(OPTIONS) as transport:
            got = await outcome(transport, server.url)
            took_s = time.monotonic() - begin
    assert got is (TransientError if name in NO_HTTP else ContractError)
    assert took_s < OPTIONS.attempt_s_max / 3
    assert sum(sent) < 32 * 1024 * 1024


OVERHEAD = {
    "headers": lambda size: response(b"[1]", "X-A: " + "x" * size),
    "interim responses": lambda size: (
        b"".join([b"HTTP/1.1 103 Hm\r\nX-A: %b\r\n\r\n" % (b"x" * (size // 4))] * 4) + response()
    ),
    "extensions": lambda size: (
        CHUNKED + b"1;%b\r\n[\r\n2;%b\r\n1]\r\n0\r\n\r\n" % (b"a" * (size // 2), b"b" * (size // 2))
    ),
    "trailers": lambda size: chunked(b"[1]", end=b"0\r\nX-A: %b\r\n\r\n" % (b"x" * size)),
}


@pytest.mark.parametrize("name", OVERHEAD)
async def test_bytes_besides_the_body(name):
    """32 KiB besides the body are accepted, more are not."""
    for size, expected in (31 * 1024, b"[1]"), (33 * 1024, ContractError):
        reply = Reply(data=OVERHEAD[name](size))
        async with raw_server(reply) as server, Transport(OPTIONS) as transport:
            assert await outcome(transport, server.url) == expected


@pytest.mark.parametrize("kind", ["declared", "in chunks", "in one chunk"])
async def test_the_largest_body(kind):
    """A body of just the limit is read; one byte more is refused."""
    for size, is_read in (LIMIT, True), (LIMIT + 1, False):
        body = b"[" + b" " * (size - 2) + b"]"
        pieces = [body[start : start + 1] for start in range(size)]
        data = {
            "declared": response(body),
            "in chunks": chunked(*pieces),
            "in one chunk": chunked(body),
        }[kind]
        async with raw_server(Reply(data=data)) as server, Transport(OPTIONS) as transport:
            got = await outcome(transport, server.url)
        assert got == (body if is_read else ContractError)


@pytest.mark.promise("1")
async def test_a_body_whose_end_nothing_tells():
    """It is refused with its head, and not waited for: a cut body would look the same."""
    async with raw_server(Reply(data=START + b"\r\n[1]", then="hang")) as server:
        begin = time.monotonic()
        async with Transport(OPTIONS) as transport:
            assert await outcome(transport, server.url) is TransientError
        assert time.monotonic() - begin < OPTIONS.attempt_s_max / 6
