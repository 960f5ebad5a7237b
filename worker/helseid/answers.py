"""Reading the token endpoint's answers: a token, a nonce to use, or a refusal. Pure."""

from collections.abc import Collection
from typing import Any, Final, TypeAlias

import orjson

from worker.core.dpop import is_nonce
from worker.core.value import Value
from worker.errors import RefusedError, UnavailableError
from worker.helseid.options import SenderConstraint
from worker.helseid.refusals import refusal
from worker.helseid.transport import HelseIdResponse

LIFETIME_S_MAX: Final = 86_400
"""No token is believed to live longer; HelseID's live for minutes."""
_DIGITS_MAX: Final = 18

_TOKEN_TYPES: Final[dict[SenderConstraint, str]] = {"dpop": "dpop", "bearer": "bearer"}


class Granted(Value, frozen=True, kw_only=True):
    """A token was given.

    Attributes:
        access_token: to be treated as opaque.
        expires_in_s: how long it lives from when it was given.
        scopes: what was granted of what was asked for.
    """

    hidden = frozenset({"access_token"})

    access_token: str
    expires_in_s: float
    scopes: tuple[str, ...]


class Denied(Value, frozen=True, kw_only=True):
    """No token was given.

    Attributes:
        code: ``error``, e.g. ``use_dpop_nonce``; empty if there is none.
        error: what to raise if another attempt cannot help.
    """

    code: str
    error: RefusedError


TokenAnswer: TypeAlias = Granted | Denied


def flaw(reply: HelseIdResponse) -> str:
    """What makes an answer one that no token endpoint gives; empty if nothing.

    A 200 without a readable token is retried and then counts as HelseID being unavailable: it
    tells of something broken on the way, such as a portal's page, not of a contract that changed.
    """
    if 300 <= reply.status < 400:  # noqa: PLR2004
        return f"the token endpoint answered {reply.status}, a redirect"
    if reply.status >= 400:  # noqa: PLR2004
        return ""
    document = _document(reply)
    if document is None:
        return "the token endpoint answered something that is not a JSON object"
    token = document.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        return "the token endpoint's answer holds no usable access_token"
    if _seconds(document.get("expires_in")) is None:
        return "the token endpoint's answer holds no usable expires_in"
    return ""


def understand(
    reply: HelseIdResponse, *, wanted: Collection[str], constraint: SenderConstraint
) -> TokenAnswer:
    """Read an answer without ``flaw``.

    Args:
        reply: the answer.
        wanted: the scopes that are needed.
        constraint: what kind of token is wanted.

    Raises:
        RefusedError: the token is of the wrong type, or a needed scope is not granted.
        UnavailableError: the answer cannot be a token endpoint's.
    """
    document = _document(reply)
    if reply.status >= 400:  # noqa: PLR2004
        return _denied(document or {}, reply)
    expires_in_s = _seconds((document or {}).get("expires_in"))
    if document is None or expires_in_s is None:
        raise UnavailableError(f"HelseID: {flaw(reply)}")
    _require_type(document, constraint)
    scopes = _granted_scopes(document, wanted)
    return Granted(access_token=document["access_token"], expires_in_s=expires_in_s, scopes=scopes)


def nonce_in(reply: HelseIdResponse) -> str | None:
    """The ``DPoP-Nonce`` of an answer, if it is one that may be sent back."""
    value: str | None = reply.headers.get("dpop-nonce")
    return value if value is not None and is_nonce(value) else None


def _document(reply: HelseIdResponse) -> dict[str, Any] | None:
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _denied(document: dict[str, Any], reply: HelseIdResponse) -> Denied:
    error = refusal(
        document.get("error"),
        document.get("error_description"),
        status=reply.status,
        clock_ahead_s=reply.clock_ahead_s,
    )
    return Denied(code=error.code, error=error)


def _seconds(value: object) -> float | None:
    """A positive number of seconds, a day at most; also a string of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:_DIGITS_MAX])
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return float(min(value, LIFETIME_S_MAX))


def _require_type(document: dict[str, Any], constraint: SenderConstraint) -> None:
    given = document.get("token_type")
    kind = given.casefold() if isinstance(given, str) else ""
    if kind == _TOKEN_TYPES[constraint]:
        return
    shown = f"the {kind!r}" if kind in _TOKEN_TYPES.values() else "an unknown"
    raise RefusedError(
        f"HelseID gave a token of {shown} type, not {constraint!r}",
        code="token_type",
        hint="make helseid.sender_constraint agree with the client's registration in self-service",
    )


def _granted_scopes(document: dict[str, Any], wanted: Collection[str]) -> tuple[str, ...]:
    """What was granted of it; by RFC 6749 §5.1 all that was asked for, if the answer does not say.

    Raises:
        RefusedError: a needed scope is rejected or absent.
    """
    rejected = [scope for scope in wanted if scope in _scopes(document.get("rejected_scope"))]
    if rejected:
        raise RefusedError(
            f"HelseID rejected the scope {' '.join(rejected)} for this organisation",
            code="rejected_scope",
            hint="the organisation must sign the terms of use for it (HelseID self-service)",
        )
    described = None if document.get("scope") is None else _scopes(document["scope"])
    granted = tuple(scope for scope in wanted if described is None or scope in described)
    missing = [scope for scope in wanted if scope not in granted]
    if missing:
        raise RefusedError(
            f"HelseID gave a token without the scope {' '.join(missing)}",
            code="insufficient_scope",
            hint="give the client the scopes of helseid.scope in HelseID self-service",
        )
    return granted


def _scopes(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list):
        return tuple(scope for scope in value if isinstance(scope, str))
    return ()
