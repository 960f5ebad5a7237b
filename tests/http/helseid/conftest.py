"""Keys made once, and a HelseID client against the sandbox's HelseID on a raw socket."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.support.clock import FakeRuntime
from tests.support.http.helseid import BEARER_ID, write_secret
from tests.support.standin import CLIENT_ID, Standin, standin
from worker.config.settings import HelseId
from worker.helseid.authorizer import HelseIdAuthorizer, open_helseid
from worker.helseid.client import helseid_client
from worker.helseid.keys import ClientKey, load_client_key
from worker.sandbox.clients import Client
from worker.sandbox.world import SandboxOptions


@pytest.fixture(scope="session")
def private_jwks() -> dict[str, dict[str, Any]]:
    """One private JWK of each kind, without ``alg`` and ``kid``."""
    jwks = {"RSA": RSAKey.generate_key(2048).as_dict(private=True)}
    for curve in ("P-256", "P-384", "P-521"):
        jwks[curve] = ECKey.generate_key(curve).as_dict(private=True)
    return jwks


@pytest.fixture
def client_key(private_jwks: dict[str, dict[str, Any]], tmp_path: Path) -> ClientKey:
    """The client's key, P-256 for speed."""
    return load_client_key(write_secret(tmp_path / "client.jwk", private_jwks["P-256"]))


@pytest.fixture
def fake() -> FakeRuntime:
    """The clock that client and server share."""
    return FakeRuntime()


@pytest.fixture
def server(fake: FakeRuntime, client_key: ClientKey) -> Iterator[Standin]:
    """A HelseID that knows the client's key, and has no reason to refuse it."""
    jwks = [client_key.public_jwk()]
    registered = [
        Client(client_id=CLIENT_ID, jwks=jwks),
        Client(client_id=BEARER_ID, jwks=jwks, dpop=False),
    ]
    options = SandboxOptions(persons=0, clients=registered)
    with standin(options, clock=lambda: fake.now().timestamp()) as made:
        yield made
    assert made.violations == []


class Clients:
    """Opens HelseID clients and closes their connections at the end."""

    def __init__(self, server: Standin, key: ClientKey, fake: FakeRuntime) -> None:
        self.server, self.key, self.fake = server, key, fake
        self.http = helseid_client()

    def open(self, **settings: Any) -> HelseIdAuthorizer:
        client_id = BEARER_ID if settings.get("sender_constraint") == "bearer" else CLIENT_ID
        chosen = {"issuer": self.server.issuer, "client_id": client_id, **settings}
        return open_helseid(HelseId(**chosen), self.key, self.fake.runtime, self.http)


@pytest.fixture
async def clients(
    server: Standin, client_key: ClientKey, fake: FakeRuntime
) -> AsyncIterator[Clients]:
    """A factory of HelseID clients against ``server``."""
    made = Clients(server, client_key, fake)
    yield made
    await made.http.aclose()
