"""A bad network: TCP between the worker and the sandbox, which knows nothing of HTTP.

It forwards bytes with the weather that is set, and strikes a connection once the server has sent so
many bytes on it as were drawn for it. With a TLS context it ends TLS, as a gateway before PTS does.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from tests.support.raw_server import listening

CHUNK = 65_536
HOLD_S = 60.0
"""For how long a half-open connection is kept."""


class Strike(Enum):
    """What happens to a connection when its bytes are used up."""

    RESET = "reset"
    """A TCP reset in the midst of an answer."""
    SILENCE = "silence"
    """Half-open: nothing comes any more, and nothing says so."""
    CLOSE = "close"
    """An orderly end in the midst of an answer."""
    SLOW_CLOSE = "slow close"
    """The answer comes whole; the next request is taken, and after a while the connection ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What a connection meets.

    Attributes:
        latency_s: added to every piece, in each direction.
        slice_bytes: every piece is sent in slices of so many bytes; 0: whole.
        strike: what happens to a connection in the end, if anything.
        after_bytes: the server's bytes until then, drawn between the two. Whatever is struck had
            more to say, so that each strike costs exactly one answer, however busy the machine is.
        strikes_max: connections that are struck.
    """

    latency_s: float = 0.0
    slice_bytes: int = 0
    strike: Strike | None = None
    after_bytes: tuple[int, int] = (1, 6_000)
    strikes_max: int = 25


@dataclass(slots=True, kw_only=True)
class Proxy:
    """A proxy that listens.

    Attributes:
        url: where clients go.
        target: the port of the server.
        struck: connections that were struck.
        connections: connections that were made; with TLS, whose handshake was done.
    """

    url: str
    target: int = 0
    weather: Weather = field(default_factory=Weather)
    struck: int = 0
    connections: int = 0
    random: Random = field(default_factory=lambda: Random(7))

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self.connections += 1
        weather = self.weather
        budget = self.random.randint(*weather.after_bytes) if weather.strike else -1
        there_in, there_out = await asyncio.open_connection("127.0.0.1", self.target)
        for end in (writer, there_out):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(proxy=self, weather=weather, here=writer, there=there_out, budget=budget)
        tasks = {
            asyncio.create_task(link.up(reader)),
            asyncio.create_task(link.down(there_in)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in (writer, there_out):
                end.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (writer, there_out):
                with contextlib.suppress(OSError):
                    await end.wait_closed()


@dataclass(slots=True, kw_only=True)
class _Link:
    """One connection: two streams, and the bytes that the server may still send."""

    proxy: Proxy
    weather: Weather
    here: asyncio.StreamWriter
    there: asyncio.StreamWriter
    budget: int

    async def up(self, reader: asyncio.StreamReader) -> None:
        """From the client to the server."""
        while data := await reader.read(CHUNK):
            if self.budget == 0 and self.weather.strike is Strike.SLOW_CLOSE and self._may():
                await asyncio.sleep(0.2)
                return
            await self._send(self.there, data)

    async def down(self, reader: asyncio.StreamReader) -> None:
        """From the server to the client."""
        while data := await reader.read(CHUNK):
            strike = self.weather.strike
            if strike is Strike.SLOW_CLOSE:
                self.budget = max(self.budget - len(data), 0)
            elif strike is not None and len(data) > self.budget and self._may():
                await self._send(self.here, data[: self.budget])
                await self._strike(strike)
                return
            elif strike is not None:
                self.budget = max(self.budget - len(data), 0)
            await self._send(self.here, data)

    def _may(self) -> bool:
        """Whether one more may be struck; counts it."""
        if self.proxy.struck >= self.weather.strikes_max:
            return False
        self.proxy.struck += 1
        return True

    async def _strike(self, strike: Strike) -> None:
        if strike is Strike.SILENCE:
            await asyncio.sleep(HOLD_S)
        if strike is Strike.RESET:
            raw = self.here.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.here.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        await asyncio.sleep(self.weather.latency_s)
        size = self.weather.slice_bytes or len(data) or 1
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()


@contextmanager
def proxy(*, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Listen on a free port, in a thread of its own; the target is set before the first call."""
    made = Proxy(url="")
    with listening(made.connected, tls=tls) as port:
        made.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield made
