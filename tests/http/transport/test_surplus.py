"""Bytes that nobody asked for: they never become, or change, the response to a request."""

import asyncio
import threading
from itertools import product

import pytest

from tests.support.http.calls import OPTIONS, chunked, outcome, response
from tests.support.raw_server import Reply, answer, raw_server, scripted_server
from worker.errors import TransientError
from worker.http.transport import Transport

pytestmark = pytest.mark.promise("1")

NEXT = b'["next"]'
SURPLUS = {
    "a second response": response(b"[2]"),
    "more of the body": b", 2]",
    "one byte": b" ",
    "a zero byte": b"\0",
    "an interim response": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "half a second response": b"HTTP/1.1 200 OK\r\nContent-Le",
}
LATER = ("a second response", "one byte", "half a second response")
"""Those that are tried where each waits for a thread of the server."""
ENDS = {
    "a length": response(),
    "a length of zero": response(b""),
    "chunks": chunked(b"[1]"),
    "chunks and trailers": chunked(b"[1]", end=b"0\r\nX-A: b\r\n\r\n"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
    "a length, then closed": response(b"[1]", "Connection: close"),
    "version 1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n[1]",
}


async def test_with_the_end_of_a_response():
    """Surplus that comes with the end of a response makes it transient and ends the connection."""
    wrong = {}
    async with Transport(OPTIONS) as transport:
        for end, surplus in product(ENDS, SURPLUS):
            both = Reply(data=ENDS[end] + SURPLUS[surplus])
            async with raw_server(both, answer(NEXT)) as server:
                got = [await outcome(transport, server.url) for _ in range(2)]
            if (got, server.connections) != ([TransientError, NEXT], 2):
                wrong[end, surplus] = got
    assert wrong == {}


@pytest.mark.parametrize("end", ENDS)
async def test_a_line_break_after_a_response(end):
    """It is none of a response's bytes (RFC 9112 §2.2), whichever response it is sent with."""
    async with Transport(OPTIONS) as transport:
        both = Reply(data=ENDS[end] + b"\r\n")
        async with raw_server(both, answer(NEXT)) as server:
            first, second = [await outcome(transport, server.url) for _ in range(2)]
    assert first == (b"" if end in {"a length of zero", "no content", "not modified"} else b"[1]")
    assert second == NEXT


@pytest.mark.parametrize("surplus", LATER)
async def test_on_an_idle_connection(surplus):
    """Surplus on an idle connection closes it; the next request goes on another."""
    is_idle, closed = threading.Event(), threading.Event()

    def script(peer):
        peer.request()
        if peer.number == 0:
            peer.send(response())
            is_idle.wait(20)
            peer.send(SURPLUS[surplus])
            if peer.closed_by_client():
                closed.set()
        else:
            peer.send(response(NEXT))
            peer.closed_by_client()

    with scripted_server(script) as server:
        async with Transport(OPTIONS) as transport:
            first = await outcome(transport, server.url)
            is_idle.set()
            was_closed = await asyncio.to_thread(closed.wait, 20)
            second = await outcome(transport, server.url)
    assert (first, second, server.connections) == (b"[1]", NEXT, 2)
    assert was_closed


async def test_a_connection_of_its_own():
    """A request for a single-use connection shares none, whatever the server adds to responses."""
    served, was_read = [], threading.Event()

    def script(peer):
        while True:
            body = peer.request()
            served.append((peer.number, body))
            peer.send(response(b"[%b]" % body))
            if body != b"0":
                was_read.wait(20)  # else both may arrive at once, and be too much
                peer.send(response(b'["extra"]'))

    async def ask_alone(number):
        was_read.clear()
        got = await outcome(transport, server.url, body=b"%d" % number, is_single_use=True)
        was_read.set()
        return got

    with scripted_server(script) as server:
        async with Transport(OPTIONS) as transport:
            kept = [await outcome(transport, server.url, body=b"0") for _ in range(2)]
            alone = [await ask_alone(number) for number in (1, 2, 3)]
            kept.append(await outcome(transport, server.url, body=b"0"))
    assert kept == [b"[0]"] * 3
    assert alone == [b"[1]", b"[2]", b"[3]"]
    assert sorted(served) == [(0, b"0"), (0, b"0"), (0, b"0"), (1, b"1"), (2, b"2"), (3, b"3")]
