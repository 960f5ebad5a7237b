"""Registered clients, their keys, and their authentication (``private_key_jwt``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.sandbox.jose import (
    ALGORITHMS,
    Claims,
    KeyRefusedError,
    PublicKey,
    Token,
    import_public,
    split,
    verifies,
)
from worker.sandbox.windows import ReplayWindow

CLIENT_CREDENTIALS: Final = "client_credentials"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_TYP: Final = "client-authentication+jwt"
ASSERTION_LIFE_S_MAX: Final = 60
CLOCK_SKEW_S: Final = 300
"""Duende's default. HelseID's own limit of 60 s on ``exp`` has no clock skew."""

PTS_SCOPE: Final = "nhn:pts/api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client registered at HelseID.

    Attributes:
        dpop: whether DPoP is required; without it, the client may use bearer tokens.
        tenancy: ``single-tenant``, ``multi-tenant``, or ``none`` (no organisations).
        organization: the parent organisation of a single-tenant client, and the supplier.
        children: child organisations that a single-tenant client may send.
        delegations: parent organisations that a multi-tenant client may act for.
        unsigned: delegations without signed terms of use; their scopes are rejected.
        may_name_parent, may_name_child: whether the client may send organisations at all.
    """

    client_id: str
    jwks: Sequence[Mapping[str, Any]] = ()
    name: str = "PTS sync (sandbox)"
    scopes: tuple[str, ...] = (PTS_SCOPE,)
    grants: tuple[str, ...] = (CLIENT_CREDENTIALS, TOKEN_EXCHANGE)
    dpop: bool = True
    tenancy: str = "single-tenant"
    organization: str = "300000017"
    children: tuple[str, ...] = ("300000025",)
    delegations: tuple[str, ...] = ("300000033", "300000041")
    unsigned: tuple[str, ...] = ("300000041",)
    may_name_parent: bool = False
    may_name_child: bool = True


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A public key of a client."""

    key: PublicKey
    kid: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A client and the keys that HelseID accepts from it."""

    client: Client
    keys: Sequence[RegisteredKey]


def register(client: Client) -> Registration:
    """Register a client. A key that HelseID would refuse is left out, and so never accepted."""
    keys = []
    for jwk in client.jwks:
        try:
            key = import_public(dict(jwk))
        except KeyRefusedError:
            continue
        keys.append(RegisteredKey(key, str(jwk.get("kid") or key.thumbprint())))
    return Registration(client, keys)


class AssertionRefusedError(Exception):
    """An assertion is refused. The client sees only ``invalid_client``."""


class AssertionChecker:
    """Checks client assertions (RFC 7523 and HelseID's rules). Each ``jti`` is valid once."""

    def __init__(self) -> None:
        self._seen = ReplayWindow(ASSERTION_LIFE_S_MAX + CLOCK_SKEW_S)

    def check(
        self, registration: Registration, form: Mapping[str, str], issuer: str, now_s: float
    ) -> Claims:
        """The claims of the assertion.

        Raises:
            AssertionRefusedError: with the reason, for the ledger.
        """
        token = open_assertion(form.get("client_assertion", ""))
        _check_signature(token, registration)
        claims = token.claims
        if not claims.get("iss") == claims.get("sub") == form.get("client_id"):
            raise AssertionRefusedError("iss, sub and client_id differ")
        _check_audience(claims, issuer)
        _check_times(claims, now_s)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not jti:
            raise AssertionRefusedError("no jti")
        if self._seen.seen(jti):
            raise AssertionRefusedError("jti was used before")
        return claims


def open_assertion(compact: str) -> Token:
    """Decode an assertion and check its header.

    Raises:
        AssertionRefusedError: the assertion is malformed or has the wrong ``typ`` or ``alg``.
    """
    try:
        token = split(compact)
    except ValueError as error:
        raise AssertionRefusedError("malformed") from error
    if token.header.get("typ") != ASSERTION_TYP:
        raise AssertionRefusedError("wrong typ")
    if token.header.get("alg") not in ALGORITHMS:
        raise AssertionRefusedError("alg not allowed")
    return token


def _check_signature(token: Token, registration: Registration) -> None:
    kid = token.header.get("kid")
    for registered in registration.keys:
        if kid in {None, registered.kid} and verifies(token, registered.key):
            return
    raise AssertionRefusedError("no registered key made this signature")


def _check_audience(claims: Claims, issuer: str) -> None:
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(audience, str) or audience.rstrip("/") != issuer.rstrip("/"):
        raise AssertionRefusedError("aud is not the issuer alone")


def _check_times(claims: Claims, now_s: float) -> None:
    expires_s, not_before_s = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires_s, int | float) or not isinstance(not_before_s, int | float):
        raise AssertionRefusedError("exp or nbf is not a number")
    if expires_s <= now_s - CLOCK_SKEW_S:
        raise AssertionRefusedError("expired")
    if expires_s - now_s > ASSERTION_LIFE_S_MAX:
        raise AssertionRefusedError("exp is more than 60 s ahead")
    if not_before_s > now_s + CLOCK_SKEW_S:
        raise AssertionRefusedError("not valid yet")
