"""HelseID's self-service API: which keys a client has, and one more for it.

Path, scope and bodies are those of NHN's own libraries and samples (HelseID reference, section 4,
"Rotation"); nothing here was tried against the live service.
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
from worker.ports import Authorization, HttpResponse

SCOPE: Final = "nhn:selvbetjening/client"
"""The scope that a client needs to change its own keys."""
SCOPE_REFUSALS: Final = frozenset(
    {"invalid_scope", "insufficient_scope", "rejected_scope", "unauthorized_client"}
)
"""HelseID's words for a client that may not."""

_PATH: Final = "/v1/client-secret"
_KEY: Final = "helseid.self_service_url"
_REPEATS_MAX: Final = 6
"""As many as the authorizer takes to know that the client is denied."""
_log = structlog.get_logger(__name__)


class RegisteredKey(Value, frozen=True, kw_only=True):
    """A public key that HelseID has of this client.

    Attributes:
        kid: its name.
        thumbprint: RFC 7638; empty if it is not told.
        expires_at: when HelseID stops accepting it; ``None`` if that is not told.
    """

    kid: str
    thumbprint: str
    expires_at: datetime | None


class SelfService:
    """The keys of one client, seen and changed with a token of its own.

    Raises:
        ConfigurationError: the address is not ``https``, nor ``http`` to loopback.
    """

    def __init__(self, url: str, helseid: HelseId) -> None:
        require_safe_url(url, key=_KEY)
        self._url = f"{url.rstrip('/')}{_PATH}"
        self._helseid = helseid

    async def keys(self) -> tuple[RegisteredKey, ...]:
        """The client's keys.

        Raises:
            RefusedError: HelseID or self-service denies this client.
            UnavailableError: no usable answer came after all retries.
        """
        document = await self._call("GET", None)
        listed = document if isinstance(document, list) else []
        return tuple(_registered(one) for one in listed if isinstance(one, dict))

    async def register(self, public_jwk: Mapping[str, str]) -> datetime | None:
        """Add a public key to the client's; when it expires, if self-service says so.

        A repeated call adds the same key again, so whoever is not sure looks first.

        Raises:
            RefusedError: HelseID or self-service denies this client, or the key.
            UnavailableError: no usable answer came after all retries.
        """
        document = await self._call("POST", orjson.dumps(public_jwk))
        _log.info("self_service.key_registered", kid=public_jwk.get("kid"))
        return _instant(document.get("expiration")) if isinstance(document, dict) else None

    async def _call(self, method: str, content: bytes | None) -> Any:
        used: list[Authorization] = []

        async def request() -> httpx.Request:
            used.append(await self._helseid.authorizer.authorize(method, self._url))
            headers = dict(used[-1].headers)
            if content is not None:
                headers["Content-Type"] = "application/json"
            return self._helseid.caller.new_request(
                method, self._url, headers=headers, content=content
            )

        repeats = 0
        while True:
            reply = await self._helseid.caller.call(request)
            verdict = self._helseid.authorizer.handle_challenge(self._url, used[-1], _answer(reply))
            if not verdict.retry or repeats == _REPEATS_MAX:
                return _understand(reply)
            repeats += 1


def _answer(reply: HelseIdResponse) -> HttpResponse:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in reply.headers.multi_items():
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    return HttpResponse(status=reply.status, headers=headers, body=reply.body)


def _understand(reply: HelseIdResponse) -> Any:
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        document = None
    if reply.status == httpx.codes.OK and isinstance(document, dict | list):
        return document
    if reply.status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise RefusedError(
            f"HelseID's self-service denies this client (HTTP {reply.status})",
            code="insufficient_scope",
            hint=f"give the client the scope {SCOPE} in self-service",
        )
    if reply.status == httpx.codes.BAD_REQUEST:
        title = clean(document.get("title")) if isinstance(document, dict) else ""
        raise RefusedError(
            f"HelseID's self-service does not take the key{f' ({title})' if title else ''}",
            code="invalid_key",
            hint="try another kind (--kind rsa), or register it by hand (--by-hand)",
        )
    if httpx.codes.is_client_error(reply.status):
        raise ConfigurationError(
            f"{_KEY}: no self-service there (HTTP {reply.status})", hint="check the address"
        )
    raise UnavailableError(f"HelseID's self-service: no usable answer (HTTP {reply.status})")


def _registered(one: Mapping[str, Any]) -> RegisteredKey:
    return RegisteredKey(
        kid=str(one.get("kid") or ""),
        thumbprint=str(one.get("jwkThumbprint") or ""),
        expires_at=_instant(one.get("expiration")),
    )


def _instant(value: object) -> datetime | None:
    """An ISO 8601 time; without a zone it is taken for UTC."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
