"""Access tokens: issued by the HelseID stand-in, checked as in NHN's sample API."""

import secrets
from functools import lru_cache
from typing import Final

from worker.sandbox.clients import CLAIM, PTS_SCOPE, Client
from worker.sandbox.jose import (
    Claims,
    Nonces,
    Once,
    check_request,
    invalid,
    open_proof,
    read,
    sign,
    signing_key,
    verifies,
)
from worker.sandbox.web import RefusedError, Request, TokenRefusedError
from worker.sandbox.world import Action, Fault, World

_AUDIENCE: Final = PTS_SCOPE.rpartition("/")[0]
_PARENT_CLAIM: Final = f"{CLAIM}orgnr_parent"
_IAT_PAST_S: Final = 6
_IAT_FUTURE_S: Final = 5
_NBF_SKEW_S: Final = 300


class Tokens:
    """The tokens of a world's issuer."""

    def __init__(self, world: World) -> None:
        self._world = world

    def issue(
        self, client: Client, scopes: tuple[str, ...], more: Claims, *, lifetime_s: int
    ) -> str:
        """An access token with the claims of a real one (HelseID reference, 1), and more."""
        now = int(self._world.now())
        audiences = sorted({scope.rpartition("/")[0] for scope in scopes})
        jti = secrets.token_hex(16).upper()
        self._world.issued.add(jti)  # forgotten by ``revoke_tokens``
        claims = {
            "iss": self._world.options.issuer,
            "nbf": now,
            "iat": now,
            "exp": now + lifetime_s,
            "aud": audiences[0] if len(audiences) == 1 else audiences,
            "scope": scopes,
            "client_id": client.client_id,
            "client_amr": "private_key_jwt",
            "helseid://claims/client/client_tenancy": client.tenancy,
            "helseid://claims/client/client_name": client.name,
            "jti": jti,
        }
        return sign(claims | more)

    def check(self, compact: str, now_s: float, *, audience: str | None) -> Claims:
        """The claims of a token that is valid now, for this audience or for any.

        Raises:
            TokenRefusedError: the token is refused.
        """
        claims = _verified(compact)
        if claims.get("iss") != self._world.options.issuer:
            raise TokenRefusedError("wrong issuer")
        if audience is not None and claims.get("aud") != audience:
            raise TokenRefusedError("wrong audience")
        # In whole seconds. Only nbf has a skew.
        if int(now_s) >= claims["exp"] or int(now_s) + _NBF_SKEW_S < claims["nbf"]:
            raise TokenRefusedError("expired")
        if claims["jti"] not in self._world.issued:
            raise TokenRefusedError("revoked")
        return claims


@lru_cache(maxsize=256)
def _verified(compact: str) -> Claims:
    """The claims of a token that this process has signed."""
    token = read(compact)
    if token is None:
        raise TokenRefusedError("malformed")
    if token.header.get("typ") not in {"at+jwt", "JWT"}:
        raise TokenRefusedError("wrong typ")
    key = signing_key()
    if token.header.get("kid") != key.kid or not verifies(token, key):
        raise TokenRefusedError("wrong signature")
    return token.claims


class AccessChecker:
    """Checks each request. Remembers the ``jti`` of DPoP proofs until they have expired."""

    def __init__(self, world: World, tokens: Tokens) -> None:
        self._world = world
        self._tokens = tokens
        self._seen = Once()
        self._nonces = Nonces()

    def check(self, request: Request, fault: Fault | None) -> None:
        """Check a request.

        Raises:
            RefusedError: it is not permitted.
        """
        now_s = self._world.now(fault)
        scheme, token = _credentials(request)
        if fault is not None and fault.action is Action.EXPIRED_TOKEN:
            raise TokenRefusedError("expired")
        claims = self._tokens.check(token, now_s, audience=_AUDIENCE)
        if scheme == "bearer":
            self._check_bearer(claims)
        else:
            self._check_proof(request, token, claims, now_s)
        # Authentication first (401), then the rights of the client (403).
        if PTS_SCOPE not in claims["scope"]:
            raise RefusedError("insufficient_scope", f"{PTS_SCOPE} is needed")
        if not claims.get(_PARENT_CLAIM):
            raise RefusedError("insufficient_scope", "orgnr_parent is needed")

    def _check_bearer(self, claims: Claims) -> None:
        # A DPoP token used as bearer would lose its protection (RFC 9449 §7.2).
        if "cnf" in claims:
            raise RefusedError("invalid_token", "The token is bound to a key.")
        client = self._world.clients.get(claims["client_id"])
        if client is None or client.dpop:
            raise RefusedError("invalid_token", "The client must use DPoP.")

    def _check_proof(self, request: Request, token: str, claims: Claims, now_s: float) -> None:
        proofs = request.all("dpop")
        if len(proofs) != 1:
            raise RefusedError("invalid_request", "Expected exactly one DPoP header.")
        proof = open_proof(proofs[0])
        # The token is bound to the key that requested it (RFC 9449 §6.1).
        if claims.get("cnf") != {"jkt": proof.thumbprint}:
            raise RefusedError("invalid_token", "Invalid 'cnf' value.")
        url = f"{self._world.options.pts_url}{request.path}"
        check_request(proof, url, now_s, past_s=_IAT_PAST_S, future_s=_IAT_FUTURE_S, token=token)
        if self._world.options.rs_nonce:
            self._nonces.check(proof, now_s)
        # The last check, because it records the proof.
        if self._seen.is_used(proof.claims["jti"]):
            raise invalid("Detected replay of DPoP proof token.")


def _credentials(request: Request) -> tuple[str, str]:
    """Scheme, lower case, and token."""
    values = request.all("authorization")
    if len(values) > 1:
        raise RefusedError("invalid_request", "Expected exactly one Authorization header.")
    scheme, _, token = "".join(values).partition(" ")
    if scheme.lower() not in {"dpop", "bearer"} or not token:
        # Without credentials the challenge has no error code (RFC 6750 §3.1).
        raise RefusedError("")
    return scheme.lower(), token
