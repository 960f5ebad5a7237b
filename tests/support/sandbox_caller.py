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
ALGORITHMS = [f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)]

OFF_IDS = [off_id for off_id, _, _ in roster(1, 200)]
"""The persons of the sandbox that a module shares."""
KEY = ECKey.generate_key("P-256", private=True)
"""Of the client that a sandbox knows, unless told of others."""

_MISSING = object()
MISSING: Any = _MISSING
"""As the value of a claim, header or field: leave it out."""


def sign(key: Any, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A compact JWS; parts that are ``MISSING`` are left out."""
    kept = {name: value for name, value in header.items() if value is not MISSING}
    body = {name: value for name, value in claims.items() if value is not MISSING}
    return jwt.encode(kept, body, key, algorithms=[*ALGORITHMS, "HS256"])


def public(key: Any) -> dict[str, Any]:
    jwk: dict[str, Any] = key.as_dict(private=False)
    return jwk


class Caller:
    """Asks for tokens and searches; every part of a request can be overridden.

    Overrides are named after where they go: ``header_typ`` and ``aud`` in an assertion or proof,
    ``form`` and ``headers`` in a request.
    """

    def __init__(
        self, sandbox: RunningSandbox, *, key: Any = KEY, client_id: str = CLIENT_ID
    ) -> None:
        self.sandbox = sandbox
        self.issuer = sandbox.options.issuer
        self.base_url = sandbox.options.pts_url
        self.client_id = client_id
        self.key = key
        self.dpop_key: Any = ECKey.generate_key("P-256", private=True)
        self.http = httpx.Client(trust_env=False, timeout=60)
        self.token_endpoint = f"{self.issuer}/connect/token"
        self.nonce: str | None = None
        self.token = ""

    def close(self) -> None:
        self.http.close()

    def assertion(self, *, key: Any = None, alg: str = "ES256", **parts: Any) -> str:
        now = int(time.time())
        key = key or self.key
        header = {"alg": alg, "kid": key.thumbprint(), "typ": "client-authentication+jwt"}
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + 30,
            "jti": str(uuid.uuid4()),
        }
        return sign(key, *_override(header, claims, parts))

    def proof(self, url: str, *, key: Any = None, alg: str = "ES256", **parts: Any) -> str:
        key = key or self.dpop_key
        header = {"alg": alg, "typ": "dpop+jwt", "jwk": public(key)}
        claims = {
            "htm": "POST",
            "htu": url,
            "iat": int(time.time()),
            "jti": str(uuid.uuid4()),
        }
        return sign(key, *_override(header, claims, parts))

    def ask(
        self,
        *,
        assertion: str | None = None,
        proof: str | list[str] | None = None,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One token request, with the nonce learnt before."""
        fields: dict[str, Any] = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion or self.assertion(),
            "scope": "nhn:pts/api",
        } | dict(form or {})
        if proof is None:
            proof = self.proof(self.token_endpoint, nonce=self.nonce or MISSING)
        proofs = proof if isinstance(proof, list) else [proof]
        answer = self.http.post(
            self.token_endpoint,
            data={name: value for name, value in fields.items() if value is not MISSING},
            headers=[*(("DPoP", p) for p in proofs if p), *(headers or {}).items()],
        )
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        return answer

    def ask_with_nonce(self, **parts: Any) -> httpx.Response:
        """One token request with a fresh nonce, which is fetched first."""
        challenge = self.ask(proof=self.proof(self.token_endpoint))
        assert challenge.json()["error"] == "use_dpop_nonce", challenge.text
        return self.ask(**parts)

    def sign_in(self, **parts: Any) -> "Caller":
        """Fetch a token and keep it."""
        answer = self.ask_with_nonce(**parts)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]
        return self

    def headers(self, url: str, **parts: Any) -> dict[str, str]:
        """What authorizes one call."""
        proof = self.proof(url, **{"ath": ath(self.token)} | parts)
        return {"Authorization": f"DPoP {self.token}", "DPoP": proof}

    def search(
        self,
        body: Any,
        path: str = SAFETY_PATH,
        *,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> httpx.Response:
        """One search, with a fresh proof; a body that is text or bytes is sent as it stands."""
        url = f"{self.base_url}{path}"
        if isinstance(body, str) and len(body) == 11:
            body = {"offId": body}
        sent = {"json": body} if not isinstance(body, bytes) else {"content": body}
        given = headers if headers is not None else self.headers(url) | _versions(path)
        content_type = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
        return self.http.post(url + query, headers={**content_type, **given}, **sent)


def registered(**settings: Any) -> list[Client]:
    """The client of a ``Caller``, registered like this."""
    return [Client(**{"jwks": [public(KEY)], **settings})]


@contextmanager
def calling(*, key: Any = KEY, client_id: str = CLIENT_ID, **settings: Any) -> Iterator[Caller]:
    """A client of a sandbox with these options."""
    with running_sandbox(SandboxOptions(**{"clients": registered(), **settings})) as sandbox:
        caller = Caller(sandbox, key=key, client_id=client_id)
        yield caller
        caller.close()


def _versions(path: str) -> dict[str, str]:
    """The header that the route without a version wants (PTS reference, 1.2)."""
    return {} if path == SAFETY_PATH else {"api-version": "0.4"}


_RICHEST: dict[str, str] = {}


def richest(caller: Caller, path: str = SAFETY_PATH) -> tuple[str, list[Any]]:
    """The person with the most restrictions; who that is never changes, and is sought once."""
    if path not in _RICHEST:
        counts = {off_id: len(caller.search(off_id, path).json()) for off_id in OFF_IDS}
        _RICHEST[path] = max(OFF_IDS, key=counts.__getitem__)
    return _RICHEST[path], caller.search(_RICHEST[path], path).json()


def ath(token: str) -> str:
    """base64url of the SHA-256 of the token."""
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _override(
    header: dict[str, Any], claims: dict[str, Any], parts: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    for name, value in parts.items():
        if name.startswith("header_"):
            header[name.removeprefix("header_")] = value
        else:
            claims[name] = value
    return header, claims
