"""A sandbox behind two gateways, one before HelseID and one before PTS, which may end TLS."""

import asyncio
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.program import REQUEST_TIMEOUT_S, Installation, install
from tests.support.raw_server import listening
from worker.sandbox.clients import CLIENT_ID
from worker.sandbox.people import roster
from worker.sandbox.serve import RunningSandbox

PERSONS = 40


@dataclass(kw_only=True)
class Gateway:
    """Hands everything on to a port of this machine.

    Attributes:
        url: where clients go.
        target: the port, set before the first call.
    """

    url: str = ""
    target: int = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, until one end is closed."""
        there_in, there_out = await asyncio.open_connection("127.0.0.1", self.target)
        await relay(reader, writer, there_in, there_out)


async def relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there_in: asyncio.StreamReader,
    there_out: asyncio.StreamWriter,
) -> None:
    """Hand everything on, both ways, until one end is closed."""
    ways = [
        asyncio.create_task(_pipe(reader, there_out)),
        asyncio.create_task(_pipe(there_in, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        there_out.close()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


@contextmanager
def gateway(*, tls: ssl.SSLContext | None = None) -> Iterator[Gateway]:
    """Listen on a free port, in a thread of its own."""
    made = Gateway()
    with listening(made.connected, tls=tls) as port:
        made.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield made


@dataclass(kw_only=True)
class Net:
    """A sandbox, reached through gateways alone."""

    sandbox: RunningSandbox
    client_key: dict[str, Any]
    helseid: Gateway
    pts: Gateway

    def install(self, folder: Path, template: Path) -> Installation:
        """A worker that knows the gateways only, with a fresh database."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(template, folder / "pts.db")
        made = install(
            folder,
            database_url=f"sqlite:///{folder / 'pts.db'}",
            issuer=self.sandbox.options.issuer,
            base_url=self.sandbox.options.pts_url,
            client_id=CLIENT_ID,
            client_key=self.client_key,
        )
        made.configure(sync={"concurrency": 4, "retry_attempts": 8})
        made.constants[REQUEST_TIMEOUT_S] = 10.0
        made.roster(*(",".join(line) for line in roster(1, PERSONS)))
        return made
