"""Bytes that arrive on a kept connection just before a request goes out on it."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from tests.support.http.calls import OPTIONS, outcome, response
from tests.support.raw_server import scripted_server
from worker.errors import TransientError

NEXT, SURPLUS = b"[2]", b"[9]"


@pytest.mark.promise("1")
@pytest.mark.parametrize("iterations", range(6))
async def test_in_any_iteration_of_the_loop(engine, iterations):
    """Whatever the loop is busy with meanwhile: what came before a request does not answer it."""
    may_send, has_sent = threading.Event(), threading.Event()

    def script(peer):
        peer.request()
        peer.send(response(NEXT if peer.number else b"[1]"))
        if peer.number == 0:
            may_send.wait(20)
            peer.link.setblocking(False)
            is_asked = False
            with contextlib.suppress(BlockingIOError):
                is_asked = bool(peer.link.recv(1, socket.MSG_PEEK))
            peer.link.settimeout(20)
            if not is_asked:
                peer.send(response(SURPLUS))
            has_sent.set()
            peer.request()
            time.sleep(0.1)  # else both would arrive at once, and be too much
            peer.send(response(NEXT))
        peer.closed_by_client()

    with scripted_server(script) as server:
        async with engine(OPTIONS) as transport:
            assert await outcome(transport, server.url) == b"[1]"
            await asyncio.sleep(0.05)
            second = asyncio.create_task(outcome(transport, server.url))
            for _ in range(iterations):
                await asyncio.sleep(0)
            may_send.set()
            has_sent.wait(20)  # the loop stands still, as it does while a batch is written
            time.sleep(0.02)  # noqa: ASYNC251
            got = await second
            if got is TransientError:
                got = await outcome(transport, server.url)
    assert got == NEXT
