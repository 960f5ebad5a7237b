"""HelseID's self-service API: list and register the keys of a client, and read its scopes.

Paths, scope and bodies follow NHN's libraries and samples (HelseID reference, section 4,
"Rotation", and section 12). Not tested against the live service.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import orjson
import structlog

from worker.core.value import Value
from worker.errors import ConfigurationError, RefusedError, UnavailableError
from worker.helseid.authorizer import HelseId
from worker.helseid.refusals import clean
from worker.helseid.transport import HelseIdResponse, require_safe_url
from worker.ports import Authorization

SCOPE: Final = "nhn:selvbetjening/client"
"""The scope that a client needs to manage its keys."""
SCOPE_REFUSALS: Final = frozenset(
    {"invalid_scope", "insufficient_scope", "rejected_scope", "unauthorized_client"}
)
"""HelseID's error codes for a client without this scope."""
OPTIONS: Final[Mapping[str, str]] = {
    "scope": SCOPE,
    "sender_constraint": "dpop",
    "grant": "client_credentials",
}
"""What a client of self-service has in place of its own ``HelseIdOptions``."""

_KEYS: Final = "/v1/client-secret"
_CLIENT: Final = "/v1/client"
_KEY: Final = "helseid.self_service_url"
_REPEATS_MAX: Final = 6
"""The number of retries after which the authorizer knows that the client is denied."""
_log = structlog.get_logger(__name__)


class RegisteredKey(Value, frozen=True, kw_only=True):
    """A public key registered for this client.

    Attributes:
        thumbprint: RFC 7638; empty if missing.
        expires_at: when HelseID stops accepting it; None if missing.
    """

    kid: str
    thumbprint: str
    expires_at: datetime | None


class ScopeAccess(Value, frozen=True, kw_only=True):
    """A scope that the client has, or has asked for.

    Attributes:
        is_ok: the client can use it.
        reason: why it cannot, as self-service says; may be empty.
    """

    scope: str
    is_ok: bool
    reason: str


class SelfService:
    """Lists and registers the keys of one client, with the client's own token.

    Raises:
        ConfigurationError: the URL is neither ``https`` nor ``http`` to loopback.
    """

    def __init__(self, url: str, helseid: HelseId) -> None:
        require_safe_url(url, key=_KEY)
        self._url = url.rstrip("/")
        self._helseid = helseid

    async def keys(self) -> tuple[RegisteredKey, ...]:
        """The client's registered keys.

        Raises:
            RefusedError: HelseID or self-service denies this client.
            UnavailableError: no valid response after all retries.
        """
        document = await self._read(_KEYS)
        secrets = document if isinstance(document, list) else []
        return tuple(_registered(secret) for secret in secrets if isinstance(secret, dict))

    async def scopes(self) -> tuple[ScopeAccess, ...]:
        """The client's scopes, approved or not.

        Raises:
            RefusedError: HelseID or self-service denies this client.
            UnavailableError: no valid response after all retries.
        """
        document = await self._read(_CLIENT)
        scopes = document.get("apiScopes") if isinstance(document, dict) else None
        found = scopes if isinstance(scopes, list) else []
        return tuple(_access(scope) for scope in found if isinstance(scope, dict))

    async def register(self, public_jwk: Mapping[str, str]) -> datetime | None:
        """Register a public key and return its expiry, if self-service reports one.

        Any 2xx is success, also without a body: which one self-service sends is not documented.
        Not idempotent: a repeated call registers the key again. When in doubt, check ``keys``.

        Raises:
            RefusedError: HelseID or self-service denies this client or the key.
            UnavailableError: no valid response after all retries.
        """
        document = await self._call("POST", _KEYS, orjson.dumps(public_jwk))
        _log.info("self_service.key_registered", kid=public_jwk.get("kid"))
        return _instant(document.get("expiration")) if isinstance(document, dict) else None

    async def _read(self, path: str) -> Any:
        document = await self._call("GET", path)
        if not isinstance(document, dict | list):
            raise UnavailableError("HelseID self-service: no valid response (not JSON)")
        return document

    async def _call(self, method: str, path: str, content: bytes | None = None) -> Any:
        url = f"{self._url}{path}"
        used: list[Authorization] = []

        async def request() -> httpx.Request:
            used.append(await self._helseid.authorizer.authorize(method, url))
            headers = dict(used[-1].headers)
            if content is not None:
                headers["Content-Type"] = "application/json"
            return self._helseid.client.new_request(method, url, headers=headers, content=content)

        repeats = 0
        while True:
            response = await self._helseid.client.call(request, lambda answer: answer)
            challenge = self._helseid.authorizer.handle_challenge(url, used[-1], response)
            if not challenge.retry or repeats == _REPEATS_MAX:
                return _parse(response)
            repeats += 1


def _parse(response: HelseIdResponse) -> Any:
    """The JSON of a successful response; None if it has none."""
    document = response.json()
    if httpx.codes.is_success(response.status):
        return document
    if response.status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise RefusedError(
            f"HelseID self-service denies this client (HTTP {response.status})",
            code="insufficient_scope",
            hint=f"add the scope {SCOPE} to the client in self-service",
        )
    if response.status == httpx.codes.BAD_REQUEST:
        title = clean(document.get("title")) if isinstance(document, dict) else ""
        raise RefusedError(
            f"HelseID self-service does not accept the key{f' ({title})' if title else ''}",
            code="invalid_key",
            hint="try another kind of key (--kind rsa), or register it by hand (--by-hand)",
        )
    if httpx.codes.is_client_error(response.status):
        raise ConfigurationError(
            f"{_KEY}: found no self-service API (HTTP {response.status})", hint="check the URL"
        )
    raise UnavailableError(f"HelseID self-service: no valid response (HTTP {response.status})")


def _registered(secret: Mapping[str, Any]) -> RegisteredKey:
    return RegisteredKey(
        kid=str(secret.get("kid") or ""),
        thumbprint=str(secret.get("jwkThumbprint") or ""),
        expires_at=_instant(secret.get("expiration")),
    )


def _access(scope: Mapping[str, Any]) -> ScopeAccess:
    return ScopeAccess(
        scope=clean(scope.get("scope")),
        is_ok=str(scope.get("status")).casefold() == "ok",
        reason=clean(scope.get("statusReason")),
    )


def _instant(value: object) -> datetime | None:
    """A time as ISO 8601, UTC if it has no zone, or as a number of seconds since 1970."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
