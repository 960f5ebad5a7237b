"""Parse responses of the token endpoint: a token, a DPoP nonce or a refusal. Pure."""

from collections.abc import Collection
from typing import Any, Final, TypeAlias

import orjson

from worker.core.dpop import is_nonce
from worker.core.value import Value
from worker.errors import RefusedError, UnavailableError
from worker.helseid.options import SenderConstraint
from worker.helseid.refusals import TRANSIENT_CODES, refusal
from worker.helseid.transport import HelseIdResponse

LIFETIME_S_MAX: Final = 86_400
"""Upper limit on ``expires_in``; HelseID's tokens live for minutes."""
_DIGITS_MAX: Final = 18

_TOKEN_TYPES: Final[dict[SenderConstraint, str]] = {"dpop": "dpop", "bearer": "bearer"}


class Granted(Value, frozen=True, kw_only=True):
    """HelseID issued a token.

    Attributes:
        expires_in_s: lifetime from the time of issue.
        scopes: the requested scopes that were granted.
    """

    hidden = frozenset({"access_token"})

    access_token: str
    expires_in_s: float
    scopes: tuple[str, ...]


class Denied(Value, frozen=True, kw_only=True):
    """HelseID refused the token request.

    Attributes:
        code: ``error``, e.g. ``use_dpop_nonce``; empty if missing.
        error: the error to raise if a retry cannot help.
    """

    code: str
    error: RefusedError


TokenResponse: TypeAlias = Granted | Denied


def response_problem(response: HelseIdResponse) -> str:
    """Why a response is neither a token nor a refusal; empty if it is.

    Such a response is retried and then counts as HelseID being unavailable. It usually comes from
    something in between, such as a firewall or a captive portal.
    """
    if 300 <= response.status < 400:  # noqa: PLR2004
        return f"the token endpoint returned a redirect (HTTP {response.status})"
    document = _document(response)
    if response.status >= 400:  # noqa: PLR2004
        return _problem_of_refusal(document, response.status)
    if document is None:
        return "the token endpoint's response is not a JSON object"
    token = document.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        return "the token endpoint's response has no valid access_token"
    if _seconds(document.get("expires_in")) is None:
        return "the token endpoint's response has no valid expires_in"
    return ""


def _problem_of_refusal(document: dict[str, Any] | None, status: int) -> str:
    if document is None:
        return f"HTTP {status} without an OAuth error: check whether a proxy or firewall sent it"
    code = document.get("error")
    is_transient = isinstance(code, str) and code in TRANSIENT_CODES
    return f"the token endpoint answered {code}" if is_transient else ""


def parse_token_response(
    response: HelseIdResponse, *, required_scopes: Collection[str], constraint: SenderConstraint
) -> TokenResponse:
    """Parse a response for which ``response_problem`` is empty.

    Raises:
        RefusedError: the token has the wrong type, or a required scope was not granted.
        UnavailableError: the response cannot come from a token endpoint.
    """
    document = _document(response)
    if response.status >= 400:  # noqa: PLR2004
        return _denied(document or {}, response)
    expires_in_s = _seconds((document or {}).get("expires_in"))
    if document is None or expires_in_s is None:
        raise UnavailableError(f"HelseID: {response_problem(response)}")
    _require_type(document, constraint)
    scopes = _granted_scopes(document, required_scopes)
    return Granted(access_token=document["access_token"], expires_in_s=expires_in_s, scopes=scopes)


def nonce_from(response: HelseIdResponse) -> str | None:
    """The ``DPoP-Nonce`` header of a response, if its value is a valid nonce."""
    value = response.header("dpop-nonce")
    return value if value is not None and is_nonce(value) else None


def _document(response: HelseIdResponse) -> dict[str, Any] | None:
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _denied(document: dict[str, Any], response: HelseIdResponse) -> Denied:
    error = refusal(
        document.get("error"),
        document.get("error_description"),
        status=response.status,
        clock_ahead_s=response.clock_ahead_s,
    )
    return Denied(code=error.code, error=error)


def _seconds(value: object) -> float | None:
    """A positive number of seconds, clipped to one day; a string of digits is accepted."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:_DIGITS_MAX])
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return float(min(value, LIFETIME_S_MAX))


def _require_type(document: dict[str, Any], constraint: SenderConstraint) -> None:
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


def _granted_scopes(document: dict[str, Any], required_scopes: Collection[str]) -> tuple[str, ...]:
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
