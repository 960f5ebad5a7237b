"""The stand-in for HelseID: discovery, keys and the token endpoint.

The order of the checks is that of Duende IdentityServer, which HelseID uses (HelseID reference,
section 10); for HelseID itself it is inferred.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from worker.sandbox.clients import (
    ASSERTION_TYPE,
    CLIENT_CREDENTIALS,
    TOKEN_EXCHANGE,
    AssertionChecker,
    AssertionRefusedError,
    Client,
    Registration,
    open_assertion,
)
from worker.sandbox.dpop import (
    Nonces,
    ProofError,
    check_at_token_endpoint,
    open_proof,
    refuse_replay,
)
from worker.sandbox.fault_responses import corrupt_response
from worker.sandbox.faults import Action, Fault, Target, has_action
from worker.sandbox.jose import Claims
from worker.sandbox.organizations import OrganizationError, read_organizations
from worker.sandbox.state import World
from worker.sandbox.tokens import (
    Grant,
    TokenError,
    TokenReader,
    discovery_document,
    issue,
    signer,
)
from worker.sandbox.web import Headers, Request, Response, header_line, json_response
from worker.sandbox.windows import ReplayWindow

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
NO_STORE: Final[Headers] = (
    (b"cache-control", b"no-store, no-cache, max-age=0"),
    (b"pragma", b"no-cache"),
)
_SCOPE_CHARACTERS_MAX: Final = 300
_IDENTITY_SCOPES: Final = frozenset({"openid", "profile", "offline_access"})
_PROOF_WINDOW_S: Final = 360


class RefusalError(Exception):
    """A token request is refused, always with HTTP 400, as in Duende.

    Attributes:
        error, description: the OAuth error.
        nonce: value of ``DPoP-Nonce``.
        reason: for the ledger.
    """

    def __init__(
        self, error: str, description: str = "", *, nonce: str = "", reason: str = ""
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.nonce = nonce
        self.reason = reason or description or error

    def response(self) -> Response:
        """The response, without ``error_description`` if the description is empty."""
        body = {"error": self.error}
        if self.description:
            body["error_description"] = self.description
        nonce = (header_line("dpop-nonce", self.nonce),) if self.nonce else ()
        return json_response(body, 400, NO_STORE + nonce)


class HelseId:
    """HelseID with one issuer."""

    def __init__(self, world: World, issuer: str) -> None:
        self.issuer = issuer
        self._path = "/" + issuer.partition("://")[2].partition("/")[2]
        self._path = self._path.rstrip("/")
        self._world = world
        self._assertions = AssertionChecker()
        self._proofs = ReplayWindow(_PROOF_WINDOW_S)
        self._nonces = Nonces()
        self.reader = TokenReader(issuer)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """Handle a request; return endpoint, response and the action of an applied fault."""
        path = request.path.removeprefix(self._path)
        endpoints = {
            "/.well-known/openid-configuration": ("discovery", "GET", self._discovery),
            "/.well-known/openid-configuration/jwks": ("jwks", "GET", self._jwks),
            "/connect/token": ("token", "POST", self._token),
        }
        endpoint = endpoints.get(path) if request.path.startswith(self._path) else None
        if endpoint is None:
            return "elsewhere", Response(404), ""
        name, method, handler = endpoint
        if request.method != method:
            return name, Response(405, headers=(header_line("allow", method),)), ""
        fault, response = self._world.strike(Target(name), request.url)
        if response is None:
            fault = fault or self._world.faults.pick(Target(name), before_checks=False)
            response = handler(request, fault)
            if fault is not None:
                response = corrupt_response(response, fault)
        return name, response, fault.action if fault else ""

    def mint_subject_token(self, subject: str, *, lifetime_s: int = 600) -> str:
        """The access token of a signed-in person, for a token exchange."""
        client = Client(client_id="5a0dba11-0000-4000-8000-0000000000ff", name="Journal (sandbox)")
        extra = {"sub": subject, "helseid://claims/identity/assurance_level": "high"}
        grant = Grant(("sandbox:journal/api",), None, extra, lifetime_s, self._world.token_epoch)
        return issue(self.issuer, client, grant, self._world.now())

    def _discovery(self, _request: Request, fault: Fault | None) -> Response:
        document = discovery_document(self.issuer)
        if has_action(fault, Action.WRONG_ISSUER):
            document["issuer"] = "https://helseid.invalid"
        return json_response(document)

    def _jwks(self, _request: Request, _fault: Fault | None) -> Response:
        return json_response(signer().jwks())

    def _token(self, request: Request, fault: Fault | None) -> Response:
        try:
            document = self._grant(request, fault)
        except RefusalError as refusal:
            self._world.ledger.refuse("token", refusal.reason)
            return refusal.response()
        self._world.ledger.count("tokens issued")
        if has_action(fault, Action.BEARER_TOKEN_TYPE):
            document["token_type"] = "Bearer"  # noqa: S105 - a name
        return json_response(document, headers=NO_STORE)

    def _grant(self, request: Request, fault: Fault | None) -> dict[str, Any]:
        now_s = self._world.now(fault)
        form = _form(request)
        client, assertion = self._authenticate(request, form, now_s)
        grant_type = form.get("grant_type")
        if len(request.all(b"dpop")) > 1:
            raise RefusalError("invalid_request", "Too many DPoP headers provided.")
        if grant_type == "authorization_code" and "assertion_details" in assertion:
            raise RefusalError("invalid_request", "HID-1009: org claims do not go with this grant")
        if grant_type not in {CLIENT_CREDENTIALS, TOKEN_EXCHANGE}:
            raise RefusalError("unsupported_grant_type")
        thumbprint = self._proof(request, client, now_s, fault)
        if grant_type not in client.grants:
            raise RefusalError("unauthorized_client")
        scopes = _scopes(client, form.get("scope"), form.get("resource"))
        extra = self._exchange(client, form, now_s) if grant_type == TOKEN_EXCHANGE else {}
        try:
            organizations = read_organizations(client, assertion)
        except OrganizationError as error:
            raise RefusalError("invalid_request", str(error), reason=error.code) from error
        granted = () if organizations.rejected else scopes
        grant = Grant(
            granted,
            thumbprint,
            extra | organizations.claims,
            fault.lifetime_s
            if has_action(fault, Action.TOKEN_LIFETIME)
            else self._world.options.token_lifetime_s,
            self._world.token_epoch,
        )
        document: dict[str, Any] = {
            "access_token": issue(self.issuer, client, grant, now_s),
            "expires_in": grant.lifetime_s,
            "token_type": "DPoP" if thumbprint else "Bearer",
            "scope": " ".join(granted),
        }
        if organizations.rejected:
            document["rejected_scope"] = " ".join(scopes)
        if grant_type == TOKEN_EXCHANGE:
            document["issued_token_type"] = ACCESS_TOKEN_TYPE
        return document

    def _authenticate(
        self, request: Request, form: Mapping[str, str], now_s: float
    ) -> tuple[Client, Claims]:
        try:
            registration = self._registration(request, form)
            claims = self._assertions.check(registration, form, self.issuer, now_s)
        except AssertionRefusedError as error:
            raise RefusalError("invalid_client", reason=f"invalid_client: {error}") from error
        self._world.ledger.use_assertion(claims["jti"])
        return registration.client, claims

    def _registration(self, request: Request, form: Mapping[str, str]) -> Registration:
        if "client_secret" in form or request.header(b"authorization"):
            raise AssertionRefusedError("HID-1008: shared secrets are rejected")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise AssertionRefusedError("wrong client_assertion_type")
        subject = open_assertion(form.get("client_assertion", "")).claims.get("sub")
        known = self._world.registrations
        registration = known.get(subject) if isinstance(subject, str) else None
        if registration is None:
            raise AssertionRefusedError("unknown client")
        return registration

    def _proof(
        self, request: Request, client: Client, now_s: float, fault: Fault | None
    ) -> str | None:
        header = request.header(b"dpop")
        if header is None:
            if client.dpop:
                raise RefusalError(
                    "invalid_request",
                    "Client requires DPoP and a DPoP header value was not provided.",
                )
            return None
        try:
            proof = open_proof(header)
            check_at_token_endpoint(proof, request.url, now_s)
            self._nonces.check(proof, fault, now_s, is_required=True)
            refuse_replay(self._proofs, proof)
        except ProofError as error:
            nonce = self._nonces.answer(error, fault, now_s)
            raise RefusalError(error.error, error.description, nonce=nonce) from error
        self._world.ledger.use_proof(proof.claims["jti"])
        return proof.thumbprint

    def _exchange(self, client: Client, form: Mapping[str, str], now_s: float) -> Claims:
        """The claims that the exchanged token takes from the subject token (RFC 8693)."""
        if form.get("subject_token_type") != ACCESS_TOKEN_TYPE:
            raise RefusalError("invalid_request", "subject_token_type must be an access token")
        if "actor_token" in form or form.get("requested_token_type") not in {
            None,
            ACCESS_TOKEN_TYPE,
        }:
            raise RefusalError("invalid_request", "actor_token or requested_token_type")
        try:
            subject = self.reader.read(
                form.get("subject_token", ""),
                audience=None,
                now_s=now_s,
                epoch=self._world.token_epoch,
            )
        except TokenError as error:
            raise RefusalError("invalid_grant", f"subject_token: {error}") from error
        act: Claims = {"client_id": client.client_id}
        if "act" in subject:
            act["act"] = subject["act"]
        return {"sub": subject.get("sub", subject.get("client_id")), "act": act}


def _form(request: Request) -> dict[str, str]:
    if request.media_type != "application/x-www-form-urlencoded":
        raise RefusalError("invalid_request", reason="media type")
    try:
        pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise RefusalError("invalid_request", reason="malformed form") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise RefusalError("invalid_request", reason="repeated parameter")
    return form


def _scopes(client: Client, scope: str | None, resource: str | None) -> tuple[str, ...]:
    if scope is None:
        scopes = client.scopes
    else:
        scopes = tuple(dict.fromkeys(scope.split()))
        if len(scope) > _SCOPE_CHARACTERS_MAX or not scopes:
            raise RefusalError("invalid_scope", reason="empty or too long")
        if set(scopes) & _IDENTITY_SCOPES or not set(scopes) <= set(client.scopes):
            raise RefusalError("invalid_scope")
    if resource is None:
        return scopes
    limited = tuple(s for s in scopes if s.rpartition("/")[0] == resource)
    if not limited:
        raise RefusalError("invalid_target")
    return limited
