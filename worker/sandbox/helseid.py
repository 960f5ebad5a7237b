"""The stand-in for HelseID: discovery, keys and the token endpoint.

The order of the checks is that of Duende IdentityServer, which HelseID uses (HelseID reference,
section 10). For HelseID itself it is inferred.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from worker.sandbox.access import Tokens
from worker.sandbox.clients import (
    CLIENT_CREDENTIALS,
    TOKEN_EXCHANGE,
    Client,
    check_assertion,
    client_refused,
    organization_claims,
)
from worker.sandbox.jose import (
    Claims,
    Nonces,
    Once,
    check_request,
    invalid,
    open_proof,
    signing_key,
)
from worker.sandbox.web import (
    ALGORITHMS,
    NO_STORE,
    RefusedError,
    Request,
    Response,
    TokenRefusedError,
    json_response,
)
from worker.sandbox.world import Fault, World, pick

_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_SCOPE_CHARACTERS_MAX: Final = 300
_IAT_SKEW_S: Final = 300
"""Inferred, because the nonce already limits the age of a proof."""


class HelseId:
    """HelseID for one world."""

    def __init__(self, world: World) -> None:
        self.issuer = world.options.issuer
        self.tokens = Tokens(world)
        self._world = world
        self._assertions = Once()
        self._proofs = Once()
        self._nonces = Nonces()
        path = urlsplit(self.issuer).path
        self._endpoints = {
            f"{path}/.well-known/openid-configuration": ("discovery", "GET", self._discovery),
            f"{path}/.well-known/openid-configuration/jwks": ("jwks", "GET", self._jwks),
            f"{path}/connect/token": ("token", "POST", self._token),
        }

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """Handle a request. Return endpoint, response and the action of an applied fault."""
        if request.path not in self._endpoints:
            return "elsewhere", Response(404), ""
        name, method, handler = self._endpoints[request.path]
        if request.method != method:
            return name, Response(405, headers={"allow": method}), ""
        fault = pick(self._world.faults, name)
        if fault is None:
            return name, handler(request, None), ""
        return name, fault.instead() or fault.spoil(handler(request, fault)), fault.action

    def mint_subject_token(self, subject: str, *, lifetime_s: int = 600) -> str:
        """The access token of a signed-in person, for a token exchange."""
        client = Client(client_id="5a0dba11-0000-4000-8000-0000000000ff", name="Journal (sandbox)")
        more = {"sub": subject, "helseid://claims/identity/assurance_level": "high"}
        scopes = ("sandbox:journal/api",)
        return self.tokens.issue(client, scopes, more, lifetime_s=lifetime_s)

    def _discovery(self, _request: Request, _fault: Fault | None) -> Response:
        """HelseID's metadata, with the members that are relevant to a client."""
        return json_response(
            {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/.well-known/openid-configuration/jwks",
                "token_endpoint": f"{self.issuer}/connect/token",
                "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "dpop_signing_alg_values_supported": ALGORITHMS,
            }
        )

    def _jwks(self, _request: Request, _fault: Fault | None) -> Response:
        return json_response({"keys": [signing_key().as_dict(private=False)]})

    def _token(self, request: Request, fault: Fault | None) -> Response:
        try:
            document = self._grant(request, fault)
        except RefusedError as error:
            self._world.counts[f"refused token: {error.reason}"] += 1
            return error.at_token_endpoint()
        self._world.counts["tokens issued"] += 1
        return json_response(document, headers=NO_STORE)

    def _grant(self, request: Request, fault: Fault | None) -> dict[str, Any]:
        now_s = self._world.now(fault)
        form = _form(request)
        # Basic authentication is a shared secret, too.
        if request.header("authorization"):
            raise client_refused("HID-1008: shared secrets are rejected")
        client, assertion = check_assertion(form, self._world.clients, self.issuer, now_s)
        if self._assertions.is_used(assertion["jti"]):
            raise client_refused("jti was used before")
        grant_type = form.get("grant_type")
        if len(request.all("dpop")) > 1:
            raise RefusedError("invalid_request", "Too many DPoP headers provided.")
        if grant_type == "authorization_code" and "assertion_details" in assertion:
            raise RefusedError("invalid_request", "HID-1009: org claims do not go with this grant")
        if grant_type not in {CLIENT_CREDENTIALS, TOKEN_EXCHANGE}:
            raise RefusedError("unsupported_grant_type")
        bound = self._bound(request, client, now_s)
        if grant_type not in client.grants:
            raise RefusedError("unauthorized_client")
        scopes = _scopes(client, form.get("scope"))
        subject = self._exchange(client, form, now_s) if grant_type == TOKEN_EXCHANGE else {}
        organizations, is_rejected = organization_claims(client, assertion)
        # HelseID issues a token without the rejected scopes, and no error.
        granted = () if is_rejected else scopes
        lifetime_s = self._world.options.token_lifetime_s
        claims = subject | organizations | bound
        document: dict[str, Any] = {
            "access_token": self.tokens.issue(client, granted, claims, lifetime_s=lifetime_s),
            "expires_in": lifetime_s,
            "token_type": "DPoP" if bound else "Bearer",
            "scope": " ".join(granted),
        }
        if is_rejected:
            document["rejected_scope"] = " ".join(scopes)
        if grant_type == TOKEN_EXCHANGE:
            document["issued_token_type"] = _ACCESS_TOKEN
        return document

    def _bound(self, request: Request, client: Client, now_s: float) -> Claims:
        """The claim that binds the token to the proof's key. Empty for a bearer token."""
        header = request.header("dpop")
        if header is None:
            if client.dpop:
                message = "Client requires DPoP and a DPoP header value was not provided."
                raise RefusedError("invalid_request", message)
            return {}
        proof = open_proof(header)
        url = f"{self.issuer}/connect/token"
        check_request(proof, url, now_s, past_s=_IAT_SKEW_S, future_s=_IAT_SKEW_S)
        self._nonces.check(proof, now_s)
        # The last check, because it records the proof.
        if self._proofs.is_used(proof.claims["jti"]):
            raise invalid("Detected replay of DPoP proof token.")
        return {"cnf": {"jkt": proof.thumbprint}}

    def _exchange(self, client: Client, form: Mapping[str, str], now_s: float) -> Claims:
        """The claims that the exchanged token takes from the subject token (RFC 8693)."""
        if form.get("subject_token_type") != _ACCESS_TOKEN:
            raise RefusedError("invalid_request", "subject_token_type must be an access token")
        if "actor_token" in form or "requested_token_type" in form:
            raise RefusedError("invalid_request", "actor_token or requested_token_type")
        try:
            subject = self.tokens.check(form.get("subject_token", ""), now_s, audience=None)
        except TokenRefusedError as error:
            raise RefusedError("invalid_grant", f"subject_token: {error.reason}") from error
        # An actor chain: each exchange wraps the actors of the subject token (RFC 8693 §4.1).
        before = {"act": subject["act"]} if "act" in subject else {}
        return {"sub": subject["sub"], "act": {"client_id": client.client_id, **before}}


def _form(request: Request) -> dict[str, str]:
    if request.media_type != "application/x-www-form-urlencoded":
        raise RefusedError("invalid_request", reason="media type")
    try:
        pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise RefusedError("invalid_request", reason="malformed form") from error
    form = dict(pairs)
    # Parameters must not repeat (RFC 6749 §3.2).
    if len(form) != len(pairs):
        raise RefusedError("invalid_request", reason="repeated parameter")
    return form


def _scopes(client: Client, scope: str | None) -> tuple[str, ...]:
    if scope is None:  # all scopes of the client, as in Duende
        return client.scopes
    scopes = tuple(dict.fromkeys(scope.split()))
    if len(scope) > _SCOPE_CHARACTERS_MAX or not scopes:
        raise RefusedError("invalid_scope", reason="empty or too long")
    # This also refuses identity scopes such as `openid`: no client is registered with them.
    if not set(scopes) <= set(client.scopes):
        raise RefusedError("invalid_scope")
    return scopes
