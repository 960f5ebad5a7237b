"""What may answer in a PostgreSQL's place: a front that ends TLS, or a thief of passwords.

The wheel's server has no TLS of its own. A front speaks the start of PostgreSQL's protocol, TLS
included (PostgreSQL manual, section 54.2.11, "SSL Session Encryption"), and hands the rest on.
"""

import asyncio
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import make_url

from tests.support.network.net import relay
from tests.support.raw_server import listening

HOST = "0.0.0.0"  # noqa: S104 - to connect to: no loopback address, and yet this machine (ip(7))
SSL_REQUEST = 80_877_103
CLEAR_PASSWORD = b"R" + struct.pack("!ii", 8, 3)


@dataclass(kw_only=True)
class Front:
    """Answers in the place of the server.

    Attributes:
        server_url: of the real server; None for a thief, who asks for the password in clear.
        tls: what it shows; None to answer that there is no TLS.
        port: where it listens.
        connections: how many came.
        secured: how many of them went over to TLS.
        passwords: what was sent to a thief.
    """

    server_url: str | None = None
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    secured: int = 0
    passwords: list[bytes] = field(default_factory=list)

    def url(self, database: str | None = None, query: str = "") -> str:
        """The URL of a database behind it, with a password."""
        name = database or (make_url(self.server_url).database if self.server_url else "pts")
        return f"postgresql://postgres:hemmelig@{HOST}:{self.port}/{name}{query}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        code, start = await read_start(reader)
        if code == SSL_REQUEST:
            writer.write(b"N" if self.tls is None else b"S")
            await writer.drain()
            if self.tls is not None:
                await writer.start_tls(self.tls)
                self.secured += 1
            code, start = await read_start(reader)
        if self.server_url is None:
            await self._steal(reader, writer)
        else:
            there_in, there_out = await open_server(self.server_url)
            there_out.write(start)
            await relay(reader, writer, there_in, there_out)

    async def _steal(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CLEAR_PASSWORD)
        await writer.drain()
        kind, body = await read_message(reader)
        if kind == b"p":
            self.passwords.append(body)


async def read_start(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The first message of a connection: its code, and all of it."""
    head = await reader.readexactly(8)
    size, code = struct.unpack("!ii", head)
    return code, head + await reader.readexactly(size - 8)


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Any later message: its kind, and what it holds."""
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


async def open_server(server_url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the real server, whose socket the URL names."""
    folder = str(make_url(server_url).query["host"])
    return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")


@contextmanager
def front(server_url: str | None = None, *, tls: ssl.SSLContext | None = None) -> Iterator[Front]:
    """A front before that server, or a thief."""
    made = Front(server_url=server_url, tls=tls)
    with listening(made.connected) as port:
        made.port = port
        yield made
