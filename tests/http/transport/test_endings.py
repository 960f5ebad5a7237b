"""Connections that end, stand still or drip, at every stage of a response; also in TLS."""

import asyncio
import socket
import time

import pytest
from msgspec.structs import replace

from tests.support.http.calls import CUT, OPTIONS, chunked, outcome, response
from tests.support.raw_server import Reply, raw_server
from worker.errors import TransientError
from worker.http.transport import Transport

OPEN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
PATIENCE_S = 0.4


async def outcomes(replies, options=OPTIONS):
    """What becomes of each reply, all at once, each from a server of its own."""

    async def outcome_of(reply):
        async with raw_server(reply) as server:
            return await outcome(transport, server.url)

    async with Transport(options) as transport:
        got = await asyncio.gather(*map(outcome_of, replies.values()))
    return dict(zip(replies, got, strict=True))


async def test_resets():
    """A reset is transient wherever it comes."""
    replies = {name: Reply(data=data, then="reset") for name, data in CUT.items()}
    assert await outcomes(replies) == dict.fromkeys(CUT, TransientError)


async def test_stalls():
    """A response that stops is transient once its time is over."""
    replies = {name: Reply(data=data, then="hang") for name, data in CUT.items()}
    begin = time.monotonic()
    got = await outcomes(replies, replace(OPTIONS, attempt_s_max=PATIENCE_S))
    assert got == dict.fromkeys(CUT, TransientError)
    assert time.monotonic() - begin < OPTIONS.attempt_s_max


@pytest.mark.promise("1")
@pytest.mark.parametrize("data", [response(), chunked(b"[", b"1]", end=b"0\r\nX-A: b\r\n\r\n")])
async def test_an_end_at_every_byte(data):
    """A response is complete with its last byte, and with none before."""
    replies = {size: Reply(data=data[:size], then="close") for size in range(len(data) + 1)}
    got = await outcomes(replies)
    assert got == {**dict.fromkeys(range(len(data)), TransientError), len(data): b"[1]"}


def ends(peer, how):
    """End a connection of TLS: as it should be, without a word, or otherwise."""
    if how == "close_notify":
        peer.link.unwrap()
    elif how == "no close_notify":
        peer.link.shutdown(socket.SHUT_RDWR)
    elif how == "reset":
        peer.reset()
    elif how == "alert":
        peer.inject(b"\x15\x03\x03\x00\x02\x02\x50")
    elif how == "no TLS":
        peer.inject(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[2]")
    elif how == "a damaged record":
        peer.inject(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    else:
        peer.closed_by_client()


HOW = ("close_notify", "no close_notify", "reset", "alert", "no TLS", "a damaged record", "silence")


@pytest.mark.promise("1")
@pytest.mark.parametrize("how", HOW)
async def test_tls_that_ends_in_a_response(tls_server, tls_options, how):
    """An end in the middle is transient, and so is a body that only the end delimits."""
    options = replace(tls_options, attempt_s_max=PATIENCE_S) if how == "silence" else tls_options

    async def outcome_of(data):
        def script(peer):
            peer.request()
            if data:
                peer.send(data)
            ends(peer, how)

        with tls_server(script) as server:
            async with Transport(options) as transport:
                return await outcome(transport, server.url)

    assert await outcome_of(OPEN_HEAD + b"[1]") is TransientError
    got = await asyncio.gather(*map(outcome_of, CUT.values()))
    assert dict(zip(CUT, got, strict=True)) == dict.fromkeys(CUT, TransientError)
