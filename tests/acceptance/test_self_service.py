"""HelseID's self-service once more, after the public clients that call the real one.

NHN's libraries and samples and FHI's ``Fhi.HelseId.Tools`` call ``/v1/client-secret`` with a DPoP
token of the scope ``nhn:selvbetjening/client``. FHI's tests hold an answer: keys made in the user
interface (origin ``Gui``) have no expiry, ``publicJwk`` is null, and keys are known by their
thumbprint. All of them take any 2xx as success. What is not public (which one it is, how a time is
written) is answered here in several ways.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Installation
from tests.support.raw_server import Reply, http
from tests.support.standin import CLIENT_ID, Standin, person
from worker.sandbox.clients import SELF_SERVICE_SCOPE, register_key
from worker.sandbox.web import Request

SCOPES = "nhn:pts/api nhn:selvbetjening/client"
DAYS = 20
PATHS = {"/v1/client-secret", "/v1/client"}


def iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def dotnet(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.1234567+00:00"


@dataclass
class SelfService:
    """The client's keys, on the port of a stand-in, whose other calls it leaves alone.

    Attributes:
        keys: what the list answers.
        posted: the bodies of registrations.
        registered: the status of a registration and whether it has a body.
        written: how the expiry is written.
    """

    standin: Standin
    registered: tuple[str, bool] = ("200 OK", True)
    written: Callable[[datetime], object] = iso
    posted: list[Mapping[str, Any]] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    expires_at: datetime = field(
        default_factory=lambda: datetime.now(UTC) + timedelta(days=DAYS, hours=1)
    )

    def add(self, kid: str, *, origin: str, expires: bool) -> None:
        expiration = self.written(self.expires_at) if expires else None
        key = {"expiration": expiration, "kid": kid, "jwkThumbprint": kid}
        self.keys.append(key | {"origin": origin, "publicJwk": None})

    def answer(self, request: Request) -> Reply:
        """The answer to a call of self-service."""
        refusal = self.standin.denied(request, SELF_SERVICE_SCOPE)
        if refusal is not None:
            return refusal
        if request.path == "/v1/client":
            scopes = [
                {"scope": name, "status": "Ok", "statusReason": None} for name in SCOPES.split()
            ]
            return http({"apiScopes": scopes})
        return http(self.keys) if request.method == "GET" else self._register(request)

    def _register(self, request: Request) -> Reply:
        jwk = json.loads(request.body)
        if request.media_type != "application/json" or not isinstance(jwk, dict) or "d" in jwk:
            return http({"title": "Bad Request", "status": 400}, status="400 Bad Request")
        self.posted.append(jwk)
        self.add(jwk["kid"], origin="Api", expires=True)
        key = register_key(jwk, origin="Api", life_s=86_400.0 * DAYS)
        self.standin.helseid.registrations[CLIENT_ID].keys.append(key)
        status, has_body = self.registered
        answer = {"expiration": self.written(self.expires_at)}
        return http(answer if has_body else b"", status=status)


@pytest.fixture
def service(standin: Standin) -> Iterator[SelfService]:
    made, handle = SelfService(standin), standin.handle

    def answer(request: Request) -> Reply:
        return made.answer(request) if request.path in PATHS else handle(request)

    standin.handle = answer  # type: ignore[method-assign]
    yield made
    assert standin.violations == []


@pytest.fixture
def worker(service: SelfService, tmp_path: Path, sqlite_url: str) -> Installation:
    person(service.standin, 1, safeties=1)
    made = service.standin.install(tmp_path, sqlite_url)
    made.configure(
        helseid={"self_service_url": service.standin.origin},
        telemetry={"textfile": str(tmp_path / "pts.prom"), "key_expiry": True},
    )
    return made


@pytest.mark.parametrize(
    ("registered", "written"),
    [
        (("200 OK", True), iso),
        (("201 Created", True), dotnet),
        (("201 Created", False), datetime.timestamp),
        (("202 Accepted", True), lambda at: int(at.timestamp())),
    ],
    ids=["iso", "dotnet", "empty-unix", "accepted-unix"],
)
def test_a_rotation_and_what_is_known_afterwards(
    service: SelfService,
    worker: Installation,
    registered: tuple[str, bool],
    written: Callable[[datetime], object],
) -> None:
    """The key of the user interface has no expiry; the new one has, for doctor and the metric."""
    service.registered, service.written = registered, written
    service.add(service.standin.private_jwk["kid"], origin="Gui", expires=False)
    assert "gives no date" in self_service_line(worker)["text"]

    rotated = worker.run("keys", "rotate")
    assert rotated.code == 0, rotated.story()
    (posted,) = service.posted
    assert {"kty": "EC", "use": "sig"}.items() <= posted.items()
    assert (rotated.document["expires_at"] is not None) is registered[1]

    after = self_service_line(worker)
    assert after["state"] == "WARN", after
    assert f"in {DAYS} days" in after["text"]
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    text = (worker.folder / "pts.prom").read_text()
    found = re.search(r"(?m)^pts_worker_client_key_expires_timestamp_seconds (\S+)$", text)
    assert found
    assert abs(float(found[1]) - service.expires_at.timestamp()) < 1.0


def self_service_line(worker: Installation) -> dict[str, Any]:
    lines = worker.run("doctor").document["lines"]
    found: dict[str, Any] = next(line for line in lines if line["name"] == "self-service")
    return found
