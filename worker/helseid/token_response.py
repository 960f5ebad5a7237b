"""Read responses of the token endpoint: a token, a DPoP nonce or a refusal. Pure."""

from collections.abc import Collection
from typing import Any, Final

from worker.core.dpop import is_nonce
from worker.errors import RefusedError
from worker.helseid.options import SenderConstraint
from worker.helseid.refusals import TRANSIENT_CODES
from worker.helseid.transport import HelseIdResponse, NoAnswerError

LIFETIME_S_MAX: Final = 86_400
"""Upper limit on ``expires_in``; HelseID's tokens live for minutes."""
_DIGITS_MAX: Final = 18

_TOKEN_TYPES: Final[dict[SenderConstraint, str]] = {"dpop": "dpop", "bearer": "bearer"}


def token_document(response: HelseIdResponse) -> dict[str, Any]:
    """The JSON object of a token or of a refusal.

    Anything else is retried and then counts as HelseID being unavailable. It usually comes from
    something in between, such as a firewall or a captive portal.

    Raises:
        NoAnswerError: it is neither.
    """
    status = response.status
    if 300 <= status < 400:  # noqa: PLR2004
        raise NoAnswerError(f"the token endpoint returned a redirect (HTTP {status})")
    document = response.json()
    if not isinstance(document, dict):
        raise NoAnswerError(
            f"HTTP {status} without an OAuth error: check whether a proxy or firewall sent it"
            if is_refusal(response)
            else "the token endpoint's response is not a JSON object"
        )
    if is_refusal(response):
        code = document.get("error")
        if isinstance(code, str) and code in TRANSIENT_CODES:
            raise NoAnswerError(f"the token endpoint answered {code}")
        return document
    token = document.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise NoAnswerError("the token endpoint's response has no valid access_token")
    if lifetime_s(document) is None:
        raise NoAnswerError("the token endpoint's response has no valid expires_in")
    return document


def is_refusal(response: HelseIdResponse) -> bool:
    """Whether a response refuses a token."""
    return response.status >= 400  # noqa: PLR2004


def nonce_from(response: HelseIdResponse) -> str | None:
    """The ``DPoP-Nonce`` header of a response, if its value is a valid nonce."""
    value = response.header("dpop-nonce")
    return value if value is not None and is_nonce(value) else None


def lifetime_s(document: dict[str, Any]) -> float | None:
    """``expires_in``, at most a day; None if it is no positive number or string of digits."""
    value = document.get("expires_in")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:_DIGITS_MAX])
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return float(min(value, LIFETIME_S_MAX))


def require_type(document: dict[str, Any], constraint: SenderConstraint) -> None:
    """Check the token's type.

    Raises:
        RefusedError: it is not that of the sender constraint.
    """
    value = document.get("token_type")
    token_type = value.casefold() if isinstance(value, str) else ""
    if token_type == _TOKEN_TYPES[constraint]:
        return
    shown = f"of type {token_type!r}" if token_type in _TOKEN_TYPES.values() else "of unknown type"
    raise RefusedError(
        f"HelseID issued a token {shown}, expected {constraint!r}",
        code="token_type",
        hint="set helseid.sender_constraint to match the client's registration in self-service",
    )


def granted_scopes(document: dict[str, Any], required_scopes: Collection[str]) -> tuple[str, ...]:
    """The required scopes that were granted.

    Without ``scope`` in the response, all requested scopes are granted (RFC 6749 §5.1).

    Raises:
        RefusedError: a required scope is rejected or missing.
    """
    rejected = [
        scope for scope in required_scopes if scope in _scopes(document.get("rejected_scope"))
    ]
    if rejected:
        raise RefusedError(
            f"HelseID rejected the scope {' '.join(rejected)} for this organisation",
            code="rejected_scope",
            hint="sign the terms of use for this scope in HelseID self-service",
        )
    scopes = None if document.get("scope") is None else _scopes(document["scope"])
    granted = tuple(scope for scope in required_scopes if scopes is None or scope in scopes)
    missing = [scope for scope in required_scopes if scope not in granted]
    if missing:
        raise RefusedError(
            f"HelseID issued a token without the scope {' '.join(missing)}",
            code="insufficient_scope",
            hint="add the scopes in helseid.scope to the client in HelseID self-service",
        )
    return granted


def _scopes(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list):
        return tuple(scope for scope in value if isinstance(scope, str))
    return ()
