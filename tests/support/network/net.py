"""A sandbox behind two gateways, one before HelseID and one before PTS, which may end TLS."""

import asyncio
import shutil
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.program import REQUEST_TIMEOUT_S, Installation, install
from tests.support.raw_server import listening
from worker.sandbox.clients import CLIENT_ID, Client
from worker.sandbox.jose import new_key_pair
from worker.sandbox.people import roster
from worker.sandbox.serve import RunningSandbox, running_sandbox
from worker.sandbox.world import SandboxOptions

PERSONS = 40
CONCURRENCY = 4


@dataclass(kw_only=True)
class Gateway:
    """Hands everything on to a port of this machine.

    Attributes:
        url: where clients go.
        target: the port, set before the first call.
        connections: that were made; with TLS, whose handshake was done.
    """

    url: str = ""
    target: int = 0
    connections: int = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, until one end is closed."""
        self.connections += 1
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
        made.configure(sync={"concurrency": CONCURRENCY, "retry_attempts": 8})
        made.constants[REQUEST_TIMEOUT_S] = 10.0
        made.roster(*(",".join(line) for line in roster(1, PERSONS)))
        return made

    def counts(self) -> dict[str, int]:
        """What the sandbox has seen."""
        counts: dict[str, int] = self.sandbox.control()["counts"]
        return counts

    def assert_no_proof_twice(self) -> None:
        """Every attempt had a proof and an assertion of its own: those without a nonce alone."""
        refused = {name for name in self.counts() if name.startswith("refused")}
        assert {name for name in refused if "nonce" not in name.lower()} == set(), refused


@contextmanager
def net(
    *, helseid_tls: ssl.SSLContext | None = None, pts_tls: ssl.SSLContext | None = None
) -> Iterator[Net]:
    """The sandbox under the gateways' addresses: issuer and ``htu`` are in their terms."""
    with ExitStack() as stack:
        helseid = stack.enter_context(gateway(tls=helseid_tls))
        pts = stack.enter_context(gateway(tls=pts_tls))
        private, public = new_key_pair()
        options = SandboxOptions(
            persons=PERSONS,
            issuer=f"{helseid.url}/helseid",
            pts_url=pts.url,
            clients=[Client(jwks=[public])],
        )
        running = stack.enter_context(running_sandbox(options))
        helseid.target = running.options.helseid_port
        pts.target = running.options.pts_port
        yield Net(sandbox=running, client_key=private, helseid=helseid, pts=pts)
