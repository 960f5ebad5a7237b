"""A stand-in for HelseID and PTS that is far faster than any client: ``python -m bench.standin``.

So that it is never the limit, it checks nothing: no proof, no token, no client assertion. What the
real services check is tested elsewhere, against the sandbox. It speaks only as much HTTP/1.1 as
the worker and the bare loop need: keep-alive, and several requests in one segment, answered in
order. It prints its port when it listens and ends with its standard input.
"""

import argparse
import asyncio
import json
import re
import selectors
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

import uvloop

from bench.people import PRIVACY, SAFETY, answer

TOKEN: Final = "t" * 900
"""As long as HelseID's tokens are."""

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PERSON: Final = re.compile(rb'"offId": ?"(\d{11})"')
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Date: Tue, 24 Nov 2026 02:00:00 GMT\r\nServer: Kestrel\r\nContent-Length: %d\r\n\r\n%b"
)
_ABSENT: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_RECEIVED_MAX: Final = 1 << 20


def split_request(received: bytes) -> tuple[bytes, bytes, bytes] | None:
    """The first request in what was received: its target, its body, and what follows it.

    None while the request is not whole.
    """
    end = received.find(_END)
    if end < 0:
        return None
    begin = end + len(_END)
    found = _LENGTH.search(received, 0, end)
    stop = begin + (int(found[1]) if found else 0)
    if len(received) < stop:
        return None
    target = received[: received.index(b"\r\n")].split(b" ", 2)[1]
    return target, received[begin:stop], received[stop:]


class Connection(asyncio.Protocol):
    """One connection; answers in the order of the requests, each after the latency.

    Args:
        reply: the whole answer to a target and a body.
        latency_s: how long each answer waits.
    """

    def __init__(self, reply: Callable[[bytes, bytes], bytes], latency_s: float) -> None:
        self._reply = reply
        self._latency_s = latency_s
        self._received = b""
        self._waiting: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, _exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        received = self._received + data if self._received else data
        while (request := split_request(received)) is not None:
            target, body, received = request
            self._answer(self._reply(target, body))
        self._received = received
        if len(received) > _RECEIVED_MAX and self._transport is not None:
            self._transport.abort()

    def _answer(self, data: bytes) -> None:
        self._waiting.append(data)
        if self._latency_s:
            self._loop.call_later(self._latency_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        """Send the oldest answer, whichever timer rang: so they keep their order."""
        data = self._waiting.popleft()
        if self._transport is not None:
            self._transport.write(data)


def replies(base_url: str) -> Callable[[bytes, bytes], bytes]:
    """What is answered at this address."""
    issuer = f"{base_url}/sts"
    fixed = {
        b"/sts/.well-known/openid-configuration": {
            "issuer": issuer,
            "token_endpoint": f"{issuer}/connect/token",
        },
        b"/sts/connect/token": {
            "access_token": TOKEN,
            "token_type": "DPoP",
            "expires_in": 600,
            "scope": "nhn:pts/api",
        },
    }
    known = {target: _ok(json.dumps(document).encode()) for target, document in fixed.items()}

    def reply(target: bytes, body: bytes) -> bytes:
        person = _PERSON.search(body)
        if person is None:
            return known.get(target, _ABSENT)
        area = SAFETY if SAFETY.encode() in target else PRIVACY
        return _ok(answer(area, person[1].decode("ascii")))

    return reply


def _ok(body: bytes) -> bytes:
    return _HEAD % (len(body), body)


async def serve(latency_s: float) -> None:
    """Serve on a free loopback port until standard input ends."""
    loop = asyncio.get_running_loop()
    reply: Callable[[bytes, bytes], bytes] = lambda _target, _body: _ABSENT  # noqa: E731

    server = await loop.create_server(
        lambda: Connection(reply, latency_s), "127.0.0.1", 0, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    reply = replies(f"http://127.0.0.1:{port}")
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bench.standin", description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    chosen = parser.parse_args(arguments)
    # uvloop's timers count whole milliseconds and may ring early. asyncio's never do, and with
    # select, which takes microseconds where epoll takes milliseconds, they ring on time.
    make = _on_time if chosen.latency_ms else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(serve(chosen.latency_ms / 1000))


def _on_time() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    main()
