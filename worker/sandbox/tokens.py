"""Access tokens: issued by the HelseID stand-in, checked by the PTS stand-in."""

import functools
import secrets
import threading
from dataclasses import dataclass
from typing import Any, Final

from worker.sandbox.clients import Client
from worker.sandbox.jose import Claims, TokenSigner, split

TENANCY_CLAIM: Final = "helseid://claims/client/client_tenancy"
NAME_CLAIM: Final = "helseid://claims/client/client_name"
PARENT_CLAIM: Final = "helseid://claims/client/claims/orgnr_parent"
_TYPES: Final = frozenset({"at+jwt", "JWT"})


class TokenError(Exception):
    """A token is refused; the message is the reason."""


_MAKING = threading.Lock()


def signer() -> TokenSigner:
    """The signing key of this process. Generating it takes most of a second.

    Threads that ask at the same time get the same one.
    """
    with _MAKING:
        return _signer()


@functools.cache
def _signer() -> TokenSigner:
    return TokenSigner()


@dataclass(frozen=True, slots=True)
class Grant:
    """The contents of a token.

    Attributes:
        thumbprint: thumbprint of the DPoP key; None for a bearer token.
        extra: organisation claims; with token exchange also ``sub`` and ``act``.
        epoch: for ``revoke_tokens``, which starts a new epoch.
    """

    scopes: tuple[str, ...]
    thumbprint: str | None
    extra: Claims
    lifetime_s: int
    epoch: int


def issue(issuer: str, client: Client, grant: Grant, now_s: float) -> str:
    """An access token with the claims of a real one (HelseID reference, section 1)."""
    now = int(now_s)
    audiences = sorted({scope.rpartition("/")[0] for scope in grant.scopes})
    claims: Claims = {
        "iss": issuer,
        "nbf": now,
        "iat": now,
        "exp": now + grant.lifetime_s,
        "aud": audiences[0] if len(audiences) == 1 else audiences,
        "scope": list(grant.scopes),
        "client_id": client.client_id,
        "client_amr": "private_key_jwt",
        TENANCY_CLAIM: client.tenancy,
        NAME_CLAIM: client.name,
        # The last four digits are the epoch, for ``revoke_tokens``.
        "jti": secrets.token_hex(14).upper() + f"{grant.epoch % 0x10000:04X}",
    }
    if grant.thumbprint is not None:
        claims["cnf"] = {"jkt": grant.thumbprint}
    return signer().sign(claims | grant.extra)


class TokenReader:
    """Verifies tokens of one issuer."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def read(self, compact: str, *, audience: str | None, now_s: float, epoch: int) -> Claims:
        """The claims of a valid token.

        Args:
            audience: required ``aud``; None for any.
            epoch: current epoch; tokens of other epochs are revoked.

        Raises:
            TokenError: the token is refused.
        """
        claims = _verified(compact)
        if claims.get("iss") != self._issuer:
            raise TokenError("wrong issuer")
        if audience is not None and claims.get("aud") != audience:
            raise TokenError("wrong audience")
        if int(now_s) >= claims.get("exp", 0) or int(now_s) + 300 < claims.get("nbf", 0):
            raise TokenError("expired")
        if not str(claims.get("jti", "")).endswith(f"{epoch % 0x10000:04X}"):
            raise TokenError("revoked")
        return claims


@functools.lru_cache(maxsize=256)
def _verified(compact: str) -> Claims:
    """The claims of a token that this process has signed."""
    try:
        token = split(compact)
    except ValueError as error:
        raise TokenError("malformed") from error
    if token.header.get("typ") not in _TYPES:
        raise TokenError("wrong typ")
    if not signer().verifies(token):
        raise TokenError("wrong signature")
    return token.claims


def discovery_document(issuer: str) -> dict[str, Any]:
    """HelseID's metadata, with the members that are relevant to a client."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/openid-configuration/jwks",
        "token_endpoint": f"{issuer}/connect/token",
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "scopes_supported": ["nhn:pts/api"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
        ],
        "dpop_signing_alg_values_supported": [
            f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)
        ],
    }
