"""A reader on an open transport, with a fake authorizer and a fake clock."""

import contextlib
import math
from dataclasses import dataclass
from typing import cast

import msgspec

from tests.support.clock import FakeRuntime
from tests.support.pts_answers import CONTRACT, PRIVACY, SAFETY, person, restriction
from tests.support.raw_server import Reply, answer, raw_server
from worker.core.retry import RetryPolicy
from worker.errors import DeniedError
from worker.helseid.authorizer import HelseIdAuthorizer
from worker.http.connection import TransportOptions
from worker.http.response import HttpResponse
from worker.http.transport import Transport
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient
from worker.tls import client_context

POLICY = RetryPolicy(attempts_max=3)
BUSY = answer(b"", status="503 Busy")
CUT = Reply(data=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", then="close")


def page(*numbers, headers=(), **around):
    """An answer with these restrictions."""
    records = [restriction(number) for number in numbers]
    return answer(
        msgspec.json.encode({"items": records, **around} if around else records), headers=headers
    )


@dataclass(slots=True, kw_only=True)
class FakeAuthorizer:
    """Numbers its proofs. A 401 is repeated so often."""

    repeats: int = 0
    made: int = 0
    learned: int = 0

    @property
    def tokens(self) -> "FakeAuthorizer":
        return self

    @property
    def current(self) -> str:
        return "token"

    async def token(self) -> str:
        return self.current

    def headers(self, method: str, url: str, token: str) -> dict[str, str]:
        self.made += 1
        return {"Authorization": f"DPoP {token}", "DPoP": f"proof-{self.made}"}

    def keep_nonce(self, url: str, response: HttpResponse) -> None:
        self.learned += 1

    def refusal(self, token: str, response: HttpResponse, number: int) -> DeniedError | None:
        is_repeated = response.status == 401 and number <= self.repeats
        return None if is_repeated else DeniedError("no", status=response.status)


class World:
    """A reader on an open transport, with a fake authorizer and a fake clock."""

    def __init__(
        self,
        server,
        transport,
        *,
        policy=POLICY,
        fake=None,
        **contract,
    ):
        self.server = server
        self.fake = fake or FakeRuntime()
        self.authorizer = FakeAuthorizer()
        self.pace = Pace(math.inf, self.fake.runtime)
        client = RetryingClient(
            transport=transport,
            authorizer=cast("HelseIdAuthorizer", self.authorizer),
            pace=self.pace,
            policy=policy,
            runtime=self.fake.runtime,
        )
        self.reader = PtsReader(
            areas=(SAFETY, PRIVACY),
            base_url=server.url + "/",
            client=client,
            runtime=self.fake.runtime,
            contract={**CONTRACT, **contract},
        )

    async def read(self, area="patient-safety", **kind):
        return await self.reader.read(person(), area, **kind)

    @property
    def proofs(self):
        return [request.headers["dpop"] for request in self.server.requests]


OPTIONS = TransportOptions(attempt_s_max=60.0, tls=client_context())


@contextlib.asynccontextmanager
async def reading(*replies, options=OPTIONS, **more):
    """A reader of a server that gives these replies."""
    async with raw_server(*replies) as server, Transport(options) as transport:
        yield World(server, transport, **more)
