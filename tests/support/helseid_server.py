"""HelseID on a raw socket: the sandbox's own, and what a test has it say instead."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jwskate
import pytest

from tests.support.clock import FakeRuntime
from tests.support.raw_server import Reply, http
from tests.support.raw_server import Request as RawRequest
from worker.app import App
from worker.config import load
from worker.errors import RefusedError
from worker.helseid import authorizer
from worker.sandbox.helseid import HelseId
from worker.sandbox.state import SandboxOptions, World
from worker.sandbox.web import Delivery, Request, Response

CLIENT_ID = "6f1a3c0e-0000-4000-8000-000000000001"
BEARER_ID = "6f1a3c0e-0000-4000-8000-000000000002"
"""The same client's registration without DPoP."""
YEARS_S = 20 * 365 * 86_400
"""The judge of proofs looks at the real clock, the tests' clock is another."""


def write_secret(path: Path, content: object) -> Path:
    """Write a file that only its owner can read."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)
    return path


def refusal(code: str, *, status: str = "400 Bad Request", **more: str) -> Reply:
    """An OAuth error."""
    return http({"error": code, **more}, status=status)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A token request, with the claims of its assertion and of its proof."""

    form: dict[str, str]
    assertion: dict[str, Any]
    proof: dict[str, Any] | None

    @classmethod
    def of(cls, request: Request) -> "Seen":
        form = dict(parse_qsl(request.body.decode()))
        proof = request.header(b"dpop")
        return cls(
            form=form,
            assertion=dict(jwskate.SignedJwt(form["client_assertion"]).claims),
            proof=None if proof is None else dict(jwskate.SignedJwt(proof).claims),
        )


@dataclass(kw_only=True)
class HelseIdServer:
    """HelseID below ``origin``. The sandbox checks every request, as a real one would.

    Attributes:
        token_reply, discovery_reply: what it says instead of a token, or its description.
        token_replies, discovery_replies: what it says instead to the next requests, before that.
        token_more, discovery_more: further fields of those answers.
        requests: as they came in; ``seen`` has the claims of those for a token.
        tokens: those that were given.
        violations: what it refused, but for a missing nonce.
    """

    origin: str = ""
    path: str = "/sts"
    token_reply: Reply | None = None
    discovery_reply: Reply | None = None
    token_replies: list[Reply] = field(default_factory=list)
    discovery_replies: list[Reply] = field(default_factory=list)
    token_more: dict[str, Any] = field(default_factory=dict)
    discovery_more: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    world: World = field(init=False)
    helseid: HelseId = field(init=False)

    @property
    def issuer(self) -> str:
        return self.origin + self.path

    @property
    def endpoint(self) -> str:
        return f"{self.issuer}/connect/token"

    @property
    def seen(self) -> list[Seen]:
        return [Seen.of(request) for request in self.requests if request.method == "POST"]

    @property
    def discoveries(self) -> int:
        return sum(request.method == "GET" for request in self.requests)

    @property
    def jtis(self) -> list[str]:
        """Every ``jti`` of assertions and proofs."""
        claims = [(seen.assertion, seen.proof) for seen in self.seen]
        return [each["jti"] for pair in claims for each in pair if each]

    def begin(
        self, origin: str, options: SandboxOptions, clock: Callable[[], float] = time.time
    ) -> None:
        """Answer below this origin from now on."""
        self.origin = origin
        self.world = World(options, clock=clock)
        self.helseid = HelseId(self.world, self.issuer)

    def fault(self, action: str, *, area: str = "token", **settings: Any) -> None:
        """Let the sandbox's HelseID have this fault, and no other."""
        self.world.apply({"faults": [{"action": action, "area": area, **settings}]})

    def receive(self, raw: RawRequest) -> Reply:
        """Answer a request as it came in."""
        return self.handle(sandbox_request(raw, self.origin))

    def handle(self, request: Request) -> Reply:
        """Answer with the time of this HelseID."""
        reply = self._reply(request)
        status, end, rest = reply.data.partition(b"\r\n")
        date = f"\r\nDate: {formatdate(self.world.now(), usegmt=True)}".encode() if end else b""
        return replace(reply, data=status + date + end + rest)

    def _reply(self, request: Request) -> Reply:
        endpoint, response, fault = self.helseid.handle(request)
        self.requests.append(request)
        if fault or endpoint not in {"discovery", "token"}:
            return sandbox_reply(response)
        document = json.loads(response.body)
        if endpoint == "discovery":
            instead = _next(self.discovery_replies) or self.discovery_reply
            return instead or http(document | self.discovery_more)
        if response.status != 200:
            if document["error"] != "use_dpop_nonce":
                self.violations.append(response.body.decode())
            return sandbox_reply(response)
        if instead := _next(self.token_replies) or self.token_reply:
            return instead
        self.tokens.append(document["access_token"])
        return http(document | self.token_more)


def _next(replies: list[Reply]) -> Reply | None:
    return replies.pop(0) if replies else None


def sandbox_request(raw: RawRequest, origin: str) -> Request:
    """A request as the sandbox's handlers take it."""
    method, target, _ = raw.line.split(" ", 2)
    path, _, query = target.partition("?")
    fields = [(name.encode(), value.encode("latin-1")) for name, value in raw.fields]
    return Request(method, path, query.encode(), fields, raw.body, origin)


def sandbox_reply(response: Response) -> Reply:
    """An answer of the sandbox's handlers."""
    if response.delivery is Delivery.DROPPED:
        return Reply(data=b"", then="close")
    headers = [f"{name.decode()}: {value.decode()}" for name, value in response.headers]
    kind, status = response.content_type.decode(), f"{response.status} As the sandbox says"
    return http(response.body, status=status, kind=kind, headers=headers)


def app(server: HelseIdServer, fake: FakeRuntime, folder: Path, **more: Any) -> App:
    """A worker's parts, as configured."""
    values = {
        "helseid.issuer": server.issuer,
        "helseid.client_id": CLIENT_ID,
        "helseid.private_jwk_file": "client.jwk",
        **more,
    }
    return App(loaded=load(values, environ={}, cwd=folder), runtime=fake.runtime)


async def refused(client: authorizer.HelseId) -> RefusedError:
    """The refusal of its request for a token."""
    with pytest.raises(RefusedError) as caught:
        await client.tokens.token()
    return caught.value
