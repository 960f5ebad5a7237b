"""Registered clients: their authentication (``private_key_jwt``), and their organisations."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from worker.sandbox.jose import Claims, PublicKey, Token, import_public, read, verifies
from worker.sandbox.web import ALGORITHMS, RefusedError

CLIENT_ID: Final = "5a0dba11-0000-4000-8000-000000000001"
CLIENT_CREDENTIALS: Final = "client_credentials"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name
PTS_SCOPE: Final = "nhn:pts/api"
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_TYP: Final = "client-authentication+jwt"
_LIFE_S_MAX: Final = 60
_CLOCK_SKEW_S: Final = 300
"""Duende's default. HelseID's own limit of 60 s on ``exp`` has no clock skew."""

CLAIM: Final = "helseid://claims/client/claims/"
_NUMBER: Final = re.compile(r"[0-9]{9}")
_CHILD_ONLY: Final = re.compile(r"(?P<child>.*)")
_IDENTIFIERS: Final = {
    "urn:oid:1.0.6523": re.compile(r"NO:ORGNR:(?P<parent>[^:]*)(:(?P<child>[^:]+)?)?"),
    "urn:oid:2.16.578.1.12.4.1.4.101": _CHILD_ONLY,
    "urn:oid:2.16.578.1.12.4.1.2.101": _CHILD_ONLY,
}
"""The forms of organisation numbers, by system."""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client registered at HelseID.

    Attributes:
        jwks: its public keys. A key that HelseID would refuse is never accepted.
        dpop: whether DPoP is required. Otherwise the client may use bearer tokens.
        tenancy: ``single-tenant``, ``multi-tenant``, or ``none`` (no organisations).
        organization: the parent of a single-tenant client, or the supplier.
        children: allowed children of a single-tenant client.
        delegations, unsigned: allowed parents of a multi-tenant client, and those without signed
            terms.
        may_name_parent, may_name_child: whether a single-tenant client may send them.
    """

    client_id: str = CLIENT_ID
    jwks: Sequence[dict[str, Any]] = ()
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

    def keys(self) -> dict[str, PublicKey]:
        """The keys that HelseID accepts, by ``kid``."""
        imported = [(jwk, import_public(jwk)) for jwk in self.jwks]
        return {str(jwk.get("kid") or key.thumbprint()): key for jwk, key in imported if key}


def client_refused(reason: str) -> RefusedError:
    """The refusal of a client. The response contains no reason."""
    return RefusedError("invalid_client", reason=f"invalid_client: {reason}")


def check_assertion(
    form: Mapping[str, str], clients: Mapping[str, Client], issuer: str, now_s: float
) -> tuple[Client, Claims]:
    """The client, and the claims of its assertion, by RFC 7523 and HelseID's rules.

    Raises:
        RefusedError: the client is unknown, or the assertion is invalid.
    """
    # HelseID accepts only private_key_jwt.
    if "client_secret" in form:
        raise client_refused("HID-1008: shared secrets are rejected")
    if form.get("client_assertion_type") != _ASSERTION_TYPE:
        raise client_refused("wrong client_assertion_type")
    token = _open(form.get("client_assertion", ""))
    claims = token.claims
    client = clients.get(str(claims.get("sub")))
    if client is None:
        raise client_refused("unknown client")
    kid = token.header.get("kid")
    # Without a kid, each registered key is tried, as in Duende.
    signers = [key for name, key in client.keys().items() if kid in {None, name}]
    if not any(verifies(token, key) for key in signers):
        raise client_refused("no registered key made this signature")
    if not claims.get("iss") == claims.get("sub") == form.get("client_id"):
        raise client_refused("iss, sub and client_id differ")
    audience = claims.get("aud")
    # One audience only: an assertion for several servers could be replayed by one of them.
    if audience not in (issuer, f"{issuer}/", [issuer], [f"{issuer}/"]):
        raise client_refused("aud is not the issuer alone")
    _check_times(claims, now_s)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise client_refused("no jti")
    return client, claims


def _open(compact: str) -> Token:
    token = read(compact)
    if token is None:
        raise client_refused("malformed")
    if token.header.get("typ") != _ASSERTION_TYP:
        raise client_refused("wrong typ")
    if token.header.get("alg") not in ALGORITHMS:
        raise client_refused("alg not allowed")
    return token


def _check_times(claims: Claims, now_s: float) -> None:
    expires_s, not_before_s = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires_s, int | float) or not isinstance(not_before_s, int | float):
        raise client_refused("exp or nbf is not a number")
    if expires_s <= now_s - _CLOCK_SKEW_S:
        raise client_refused("expired")
    if expires_s - now_s > _LIFE_S_MAX:
        raise client_refused("exp is more than 60 s ahead")
    if not_before_s > now_s + _CLOCK_SKEW_S:
        raise client_refused("not valid yet")


# Organisation numbers in ``assertion_details`` (HelseID reference, 3 and 7, CONF 750616578).


def _organization_refused(code: str, problem: str) -> RefusedError:
    return RefusedError("invalid_request", f"{code}: {problem}", reason=code)


def organization_claims(client: Client, assertion: Claims) -> tuple[Claims, bool]:
    """The organisation claims for a client and its assertion, and whether its scopes are rejected.

    Scopes are rejected if the organisation has not signed the terms of use.

    Raises:
        RefusedError: the organisation is invalid or not allowed for this client.
    """
    is_multi = client.tenancy == "multi-tenant"
    parent, child = "", ""
    if "assertion_details" in assertion:
        parent, child = _named_organizations(assertion["assertion_details"], client)
        _check_organizations(client, parent, child)
    if client.tenancy == "single-tenant":
        parent = client.organization  # always its own, whatever the assertion contains
    numbers = {
        "orgnr_parent": parent,
        "orgnr_child": child,
        "orgnr_supplier": client.organization if is_multi else "",
    }
    claims = {f"{CLAIM}{name}": number for name, number in numbers.items() if number}
    return claims, is_multi and parent in client.unsigned


def _named_organizations(details: object, client: Client) -> tuple[str, str]:
    """Parent and child of the one ``helseid_authorization``, in an object or an array."""
    node: Any = details[0] if isinstance(details, list) and len(details) == 1 else details
    if not isinstance(node, dict) or node.get("type") != "helseid_authorization":
        raise _organization_refused("HID-1007", "expected one helseid_authorization")
    for name in ("practitioner_role", "organization", "identifier"):
        node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict) or node.get("type") != "ENH":
        raise _organization_refused("HID-1007", "no identifier of type ENH")
    form, value = _IDENTIFIERS.get(str(node.get("system"))), node.get("value")
    match = form.fullmatch(value) if form and isinstance(value, str) else None
    if match is None:
        raise _organization_refused(
            "HID-1007", "unknown system, or not NO:ORGNR:<parent>[:<child>]"
        )
    if client.tenancy == "none":
        raise _organization_refused("HID-1010", "the configuration does not support org claims")
    named = {name: number for name, number in match.groupdict().items() if number is not None}
    if not all(map(_NUMBER.fullmatch, named.values())):
        raise _organization_refused("HID-1004", "an organisation number has nine digits")
    return named.get("parent", ""), named.get("child", "")


def _check_organizations(client: Client, parent: str, child: str) -> None:
    is_multi = client.tenancy == "multi-tenant"
    if is_multi and not parent:
        raise _organization_refused(
            "HID-1010", "a multi-tenant client names parent and child together"
        )
    if parent and not is_multi and not client.may_name_parent:
        raise _organization_refused("HID-1005", "passing a parent organisation is not enabled")
    if parent and parent not in (client.delegations if is_multi else (client.organization,)):
        raise _organization_refused("HID-1001", "the parent organisation is not whitelisted")
    # HelseID does not check the child of a multi-tenant client (CONF 749371403).
    if child and not is_multi and not client.may_name_child:
        raise _organization_refused("HID-1006", "passing a child organisation is not enabled")
    if child and not is_multi and child not in client.children:
        code = "HID-1003" if parent else "HID-1002"
        raise _organization_refused(code, "the child organisation is not whitelisted")
