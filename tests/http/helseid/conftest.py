"""Keys made once, and a HelseID client against a token endpoint on a real socket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.fakes import FakeRuntime
from tests.http.helseid.support import CLIENT_ID, TokenEndpoint, write_secret
from worker.helseid.authorizer import HelseId, open_helseid
from worker.helseid.keys import ClientKey, load_client_key
from worker.helseid.options import HelseIdOptions
from worker.helseid.transport import helseid_client


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
def server(fake: FakeRuntime, client_key: ClientKey) -> Iterator[TokenEndpoint]:
    """A token endpoint that knows the client's key; nothing it saw may be at fault."""
    with TokenEndpoint(fake.now, path="/session-1") as endpoint:
        endpoint.register(client_key.public_jwk())
        yield endpoint
        assert endpoint.faults == []


class Clients:
    """Opens HelseID clients and closes their connections at the end."""

    def __init__(self, server: TokenEndpoint, key: ClientKey, fake: FakeRuntime) -> None:
        self.server, self.key, self.fake = server, key, fake
        self.http = helseid_client()

    def open(self, **options: Any) -> HelseId:
        chosen = {"issuer": self.server.issuer, "client_id": CLIENT_ID, **options}
        return open_helseid(HelseIdOptions(**chosen), self.key, self.fake.runtime, self.http)


@pytest.fixture
async def clients(server: TokenEndpoint, client_key: ClientKey, fake: FakeRuntime):
    """A factory of HelseID clients against ``server``."""
    made = Clients(server, client_key, fake)
    yield made
    await made.http.aclose()
