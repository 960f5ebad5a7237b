"""A client of the sandbox made by hand: it shares no code with the worker nor with the sandbox."""

import base64
import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from worker.sandbox.clients import CLIENT_ID, Client
from worker.sandbox.people import roster
from worker.sandbox.serve import RunningSandbox, running_sandbox
from worker.sandbox.world import SandboxOptions

SAFETY_PATH = "/v0.5/access-restrictions/patient-safety/_search"
PRIVACY_PATH = "/access-restrictions/patient-privacy/_search"

OFF_IDS = [off_id for off_id, _, _ in roster(1, 200)]
"""The persons of the sandbox that a module shares."""
KEY = ECKey.generate_key("P-256", private=True)
"""The client's key, which the sandbox knows."""
MISSING: Any = object()
"""As the value of a claim or header: leave it out."""


def sign(key: Any, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A compact JWS."""
    return jwt.encode(dict(header), dict(claims), key, algorithms=["ES256", "HS256"])


def public(key: Any) -> dict[str, Any]:
    jwk: dict[str, Any] = key.as_dict(private=False)
    return jwk


class Caller:
    """Requests tokens and searches.

    Parts of an assertion or proof can be overridden: ``header_typ`` is a header, ``aud`` a claim.
    """

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.issuer = sandbox.options.issuer
        self.base_url = sandbox.options.pts_url
        self.token_endpoint = f"{self.issuer}/connect/token"
        self.client_id = CLIENT_ID
        self.key = KEY
        self.dpop_key: Any = ECKey.generate_key("P-256", private=True)
        self.http = httpx.Client(trust_env=False, timeout=60)
        self.nonce: str | None = None
        self.token = ""

    def close(self) -> None:
        self.http.close()

    def assertion(self, *, key: Any = KEY, **parts: Any) -> str:
        now = int(time.time())
        header = {"alg": "ES256", "kid": key.thumbprint(), "typ": "client-authentication+jwt"}
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + 30,
            "jti": str(uuid.uuid4()),
        }
        return sign(key, *_overridden(header, claims, parts))

    def proof(self, url: str, *, key: Any = None, **parts: Any) -> str:
        key = key or self.dpop_key
        header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": public(key)}
        claims = {"htm": "POST", "htu": url, "iat": int(time.time()), "jti": str(uuid.uuid4())}
        return sign(key, *_overridden(header, claims, parts))

    def ask(self, *, assertion: str | None = None, proof: str | None = None) -> httpx.Response:
        """One token request, with the last nonce."""
        if proof is None:
            proof = self.proof(self.token_endpoint, nonce=self.nonce or MISSING)
        answer = self.http.post(
            self.token_endpoint,
            data={
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": assertion or self.assertion(),
                "scope": "nhn:pts/api",
            },
            headers={"DPoP": proof} if proof else {},
        )
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        return answer

    def ask_with_nonce(self) -> httpx.Response:
        """One token request with a fresh nonce, which is fetched first."""
        challenge = self.ask(proof=self.proof(self.token_endpoint))
        assert challenge.json()["error"] == "use_dpop_nonce", challenge.text
        return self.ask()

    def sign_in(self) -> "Caller":
        """Fetch a token and keep it."""
        answer = self.ask_with_nonce()
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]
        return self

    def headers(self, url: str, **parts: Any) -> dict[str, str]:
        """The authorization of one call."""
        proof = self.proof(url, **{"ath": ath(self.token)} | parts)
        return {"Authorization": f"DPoP {self.token}", "DPoP": proof}

    def search(
        self, off_id: str, path: str = SAFETY_PATH, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One search, with a fresh proof unless headers are given."""
        url = f"{self.base_url}{path}"
        # The route without a version in its path has one in a header (PTS reference, 1.2).
        version = {} if path == SAFETY_PATH else {"api-version": "0.4"}
        sent = self.headers(url) | version if headers is None else headers
        return self.http.post(url, headers=sent, json={"offId": off_id})


@contextmanager
def calling(**settings: Any) -> Iterator[Caller]:
    """A client of a sandbox with these options."""
    options = SandboxOptions(clients=[Client(jwks=[public(KEY)])], **settings)
    with running_sandbox(options) as sandbox:
        caller = Caller(sandbox)
        yield caller
        caller.close()


def richest(caller: Caller, path: str = SAFETY_PATH) -> tuple[str, list[Any]]:
    """The person with the most restrictions, and these."""
    found = {off_id: caller.search(off_id, path).json() for off_id in OFF_IDS}
    off_id = max(OFF_IDS, key=lambda one: len(found[one]))
    return off_id, found[off_id]


def ath(token: str) -> str:
    """base64url of the SHA-256 of the token."""
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _overridden(
    header: dict[str, Any], claims: dict[str, Any], parts: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    for name, value in parts.items():
        target = header if name.startswith("header_") else claims
        target[name.removeprefix("header_")] = value
    header, claims = (
        {name: value for name, value in part.items() if value is not MISSING}
        for part in (header, claims)
    )
    return header, claims
