"""The stand-in for HelseID's self-service API: a client reads its state and its keys, and adds one.

Paths and bodies are confirmed, times are inferred (HelseID reference, section 4, "Rotation", and
section 12). ``/v1/client`` is read only here: nobody changes a client by this program.
"""

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from worker.sandbox.api_access import AccessChecker
from worker.sandbox.challenges import DeniedError
from worker.sandbox.clients import SELF_SERVICE_SCOPE, RegisteredKey, Registration, register_key
from worker.sandbox.faults import Target
from worker.sandbox.jose import KeyRefusedError
from worker.sandbox.state import World
from worker.sandbox.tokens import TokenReader
from worker.sandbox.web import Request, Response, header_line, json_response, problem

KEYS_PATH: Final = "/v1/client-secret"
CLIENT_PATH: Final = "/v1/client"
METHODS: Final = {KEYS_PATH: ("GET", "POST"), CLIENT_PATH: ("GET",)}
"""The paths, and what each answers to."""
_KEYS_MAX: Final = 20


class SelfService:
    """GET and POST of ``/v1/client-secret``, GET of ``/v1/client``."""

    def __init__(
        self, world: World, reader: TokenReader, registrations: dict[str, Registration]
    ) -> None:
        self._world = world
        self._registrations = registrations
        self._access = AccessChecker(world, reader, registrations, SELF_SERVICE_SCOPE)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """Handle a request; return endpoint, response and the action of an applied fault."""
        where = request.path.rpartition("/")[2]
        methods = METHODS[request.path]
        if request.method not in methods:
            headers = (header_line("allow", ", ".join(methods)),)
            return where, problem(405, "Method Not Allowed", headers=headers), ""
        fault, response = self._world.strike(Target(where), request.url)
        if response is not None:
            return where, response, fault.action if fault else ""
        try:
            claims = self._access.check(request, fault)
        except DeniedError as denied:
            response = denied.response(self._world.options.challenge_style)
            return where, response, fault.action if fault else ""
        registration = self._registrations[claims["client_id"]]
        if request.path == CLIENT_PATH:
            return where, json_response(_state(registration)), ""
        posted = self._post(request, registration) if request.method == "POST" else None
        return where, posted or self._get(registration), ""

    def _get(self, registration: Registration) -> Response:
        now_s = self._world.now()
        return json_response([_secret(k) for k in registration.keys if k.is_listed(now_s)])

    def _post(self, request: Request, registration: Registration) -> Response:
        if request.media_type != "application/json":
            return problem(415, "Unsupported Media Type")
        now_s, options = self._world.now(), self._world.options
        try:
            jwk = _jwk(request.body)
            active_s = now_s + options.activation_delay_s
            registered = register_key(
                jwk, origin="Api", active_s=active_s, life_s=options.key_life_s
            )
        except (KeyRefusedError, ValueError) as error:
            return problem(400, "The public JWK is not accepted.", errors={"jwk": [str(error)]})
        for earlier in registration.keys:
            earlier.retired_s = min(
                earlier.retired_s or earlier.expires_s,
                active_s + options.retire_after_s,
            )
        registration.keys[:] = [k for k in registration.keys if k.is_listed(now_s)][-_KEYS_MAX:]
        registration.keys.append(registered)
        return json_response({"expiration": _iso(registered.expires_s)})


def _jwk(body: bytes) -> dict[str, Any]:
    """The JWK in a body: a JSON object, or a JSON string that contains one."""
    value = orjson.loads(body)
    if isinstance(value, str):
        value = orjson.loads(value)
    if not isinstance(value, dict):
        raise ValueError("expected a JWK")  # noqa: TRY004 - one error type for the caller
    return value


def _secret(key: RegisteredKey) -> dict[str, Any]:
    return {
        "expiration": _iso(key.expires_s),
        "kid": key.kid,
        "jwkThumbprint": key.key.thumbprint() if key.key else None,
        "origin": key.origin,
        "publicJwk": key.jwk,
    }


def _state(registration: Registration) -> dict[str, Any]:
    """The client's state, as NHN's samples read it (``CurrentClient``)."""
    client = registration.client
    scopes = [_scope(scope, "ok", None) for scope in client.scopes]
    scopes += [_scope(scope, "pending", "Awaits approval.") for scope in client.pending_scopes]
    return {
        "apiScopes": scopes,
        "audienceSpecificClientClaims": [],
        "redirectUris": [],
        "postLogoutRedirectUris": [],
        "childOrganizationNumbers": list(client.children),
    }


def _scope(scope: str, status: str, reason: str | None) -> dict[str, Any]:
    return {"scope": scope, "status": status, "statusReason": reason}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")
