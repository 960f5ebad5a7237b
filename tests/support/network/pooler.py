"""A pooler between worker and PostgreSQL, as strict as PgBouncer may be.

It takes no setting at start-up, and in transaction mode hands each transaction to the server
connection that has rested longest, which is never the last one. Unlike PgBouncer it gives no
statement another name: two clients that use one name are found out.
"""

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import make_url

from tests.support.network.postgres_front import (
    CANCEL_REQUEST,
    SSL_REQUEST,
    open_server,
    read_message,
    read_start,
    relay,
)
from tests.support.raw_server import listening

TAKEN = {"user", "database", "client_encoding", "application_name"}
"""Settings at start-up that PgBouncer takes, of those that matter here (its manual, section
"ignore_startup_parameters")."""
SERVERS = 5
IDLE = b"I"


@dataclass(kw_only=True)
class Server:
    """A connection to the real server, which many clients use in turn."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    greeting: bytes
    statements: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(kw_only=True)
class Pooler:
    """Pools the connections to one database.

    Attributes:
        server_url: of the real server and database.
        mode: ``session`` or ``transaction``.
        keeps_statements: whether it prepares a client's statements where they are missing, as
            PgBouncer does with ``max_prepared_statements``.
        refused: settings at start-up that it did not take.
        transactions: how many it carried.
        switches: how often a client got another server connection than the time before.
    """

    server_url: str
    mode: str
    keeps_statements: bool = False
    port: int = 0
    refused: set[str] = field(default_factory=set)
    transactions: int = 0
    switches: int = 0
    _resting: asyncio.Queue[Server] = field(default_factory=asyncio.Queue)
    _servers: list[Server] = field(default_factory=list)
    _made: int = 0

    def url(self) -> str:
        """Where clients go."""
        name = make_url(self.server_url).database
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one client."""
        code, start = await read_start(reader)
        if code == SSL_REQUEST:
            writer.write(b"N")
            code, start = await read_start(reader)
        if code == CANCEL_REQUEST:
            return
        words = start[8:].rstrip(b"\0").split(b"\0")
        refused = {name.decode() for name in words[::2]} - TAKEN
        if refused:
            self.refused |= refused
            text = f"unsupported startup parameter: {min(refused)}"
            writer.write(_message(b"E", f"SFATAL\0C08P01\0M{text}\0\0".encode()))
            await writer.drain()
        elif self.mode == "session":
            self.transactions += 1
            await relay(reader, writer, self.server_url, start)
        else:
            await _Client(self, writer).carry(reader, start)

    async def borrow(self, start: bytes, *, but: Server | None = None) -> Server:
        """The server connection that has rested longest, and another than ``but``."""
        while self._made < SERVERS:
            self._made += 1
            server = await _open(self.server_url, start)
            self._servers.append(server)
            self._resting.put_nowait(server)
        while (server := await self._resting.get()) is but:
            self.give_back(server)
            await asyncio.sleep(0.001)  # the others are in use
        return server

    def close(self) -> None:
        """Close all server connections."""
        for server in self._servers:
            server.writer.close()

    def give_back(self, server: Server) -> None:
        """Let it rest."""
        self._resting.put_nowait(server)


class _Client:
    """One client in transaction mode."""

    def __init__(self, pooler: Pooler, writer: asyncio.StreamWriter) -> None:
        self._pooler = pooler
        self._writer = writer
        self._came: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
        self._statements: dict[bytes, bytes] = {}
        self._parses: list[bool] = []
        """Of each Parse under way, whether its answer goes to the client."""
        self._asked = 0
        """ReadyForQuery that the server still owes."""

    async def carry(self, reader: asyncio.StreamReader, start: bytes) -> None:
        server = await self._pooler.borrow(start)
        self._writer.write(server.greeting)
        self._pooler.give_back(server)
        reading = asyncio.create_task(self._read(reader))
        before: Server | None = None
        try:
            while (message := await self._came.get())[0] != b"X":
                server = await self._pooler.borrow(start, but=before)
                self._pooler.transactions += 1
                self._pooler.switches += server is not before
                before = server
                try:
                    await self._transaction(server, message)
                finally:
                    self._pooler.give_back(server)
        finally:
            reading.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._came.put_nowait(await read_message(reader))
        except (OSError, EOFError):
            self._came.put_nowait((b"X", b""))

    async def _transaction(self, server: Server, first: tuple[bytes, bytes]) -> None:
        """From the client's first message to the server's word that no transaction is open."""
        self._up(server, *first)
        down = asyncio.create_task(self._down(server))
        while not down.done():
            get = asyncio.create_task(self._came.get())
            await asyncio.wait({get, down}, return_when=asyncio.FIRST_COMPLETED)
            if not get.done():
                get.cancel()
            elif get.result()[0] != b"X":
                self._up(server, *get.result())
            elif not down.done():  # the client is gone: the server is made fit for others
                self._up(server, b"Q", b"ROLLBACK\0")
                self._came.put_nowait((b"X", b""))
                break
        await down

    def _up(self, server: Server, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name = body.partition(b"\0")[0]
            self._statements[name] = server.statements[name] = body
            self._parses.append(True)
        elif self._pooler.keeps_statements:
            name = _statement(kind, body)
            kept = self._statements.get(name) if name else None
            if name and kept and server.statements.get(name) != kept:
                server.statements[name] = kept
                self._parses.append(False)
                server.writer.write(_message(b"P", kept))
        self._asked += kind in {b"Q", b"S"}
        server.writer.write(_message(kind, body))

    async def _down(self, server: Server) -> None:
        """Hand on the answers until no transaction is open and no more are to come."""
        while True:
            kind, body = await read_message(server.reader)
            is_for_client = self._parses.pop(0) if kind == b"1" else True
            if is_for_client:
                self._writer.write(_message(kind, body))
            if kind == b"Z":
                self._asked -= 1
                if body == IDLE and not self._asked:
                    self._parses.clear()
                    return


def _statement(kind: bytes, body: bytes) -> bytes:
    """The prepared statement that a message is about; empty if about none."""
    if kind == b"B":
        return body.split(b"\0")[1]
    return body[1:].partition(b"\0")[0] if kind == b"D" and body[:1] == b"S" else b""


async def _open(server_url: str, start: bytes) -> Server:
    reader, writer = await open_server(server_url)
    writer.write(start)
    greeting = b""
    while True:
        kind, body = await read_message(reader)
        greeting += _message(kind, body)
        if kind == b"Z":
            return Server(reader=reader, writer=writer, greeting=greeting)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


@contextmanager
def pooler(server_url: str, mode: str, *, keeps_statements: bool = False) -> Iterator[Pooler]:
    """A pooler that listens on loopback."""
    made = Pooler(server_url=server_url, mode=mode, keeps_statements=keeps_statements)
    with listening(made.connected, ended=made.close) as port:
        made.port = port
        yield made
