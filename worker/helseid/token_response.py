"""Judges what the token endpoint answers: a token, a refusal, or neither. Pure."""

from collections.abc import Collection
from typing import Annotated, Any

import httpx
import msgspec

from worker.errors import RefusedError, TransientError
from worker.helseid.client import json_object
from worker.helseid.options import SenderConstraint
from worker.helseid.refusals import TRANSIENT_CODES, refusal


class GrantedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as the endpoint gives it. It is opaque; ``expires_in`` may be a string of digits."""

    access_token: Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]+\Z")]
    expires_in: Annotated[float, msgspec.Meta(gt=0)]
    token_type: Any = None
    scope: Any = None
    rejected_scope: Any = None

    def require(self, constraint: SenderConstraint, scopes: Collection[str]) -> None:
        """Check the type and the scopes. Without ``scope``, all are granted (RFC 6749 §5.1).

        Raises:
            RefusedError: it is not what was asked for.
        """
        token_type = str(self.token_type).casefold()
        if token_type != constraint:
            shown = (
                f"of type {token_type!r}" if token_type in ("dpop", "bearer") else "of unknown type"
            )
            raise RefusedError(
                f"HelseID issued a token {shown}, expected {constraint!r}",
                code="token_type",
                hint="set helseid.sender_constraint to match the client's registration in "
                "self-service",
            )
        if rejected := [one for one in scopes if one in _scopes(self.rejected_scope)]:
            raise RefusedError(
                f"HelseID rejected the scope {' '.join(rejected)} for this organisation",
                code="rejected_scope",
                hint="sign the terms of use for this scope in HelseID self-service",
            )
        granted = scopes if self.scope is None else _scopes(self.scope)
        if missing := [one for one in scopes if one not in granted]:
            raise RefusedError(
                f"HelseID issued a token without the scope {' '.join(missing)}",
                code="insufficient_scope",
                hint="add the scopes in helseid.scope to the client in HelseID self-service",
            )


def granted_token(response: httpx.Response, *, clock: str = "") -> GrantedToken:
    """The token in a response.

    What is neither a token nor a refusal is retried and then counts as HelseID being unavailable.
    It usually comes from something in between, such as a firewall or a captive portal.

    Args:
        clock: what is wrong with the clock, if that is known.

    Raises:
        TransientError: it is neither.
        RefusedError: HelseID refuses the client.
    """
    status, document = response.status_code, json_object(response)
    if response.is_redirect:
        raise TransientError(f"the token endpoint returned a redirect (HTTP {status})")
    if document is None:
        raise TransientError(
            f"HTTP {status} without an OAuth error: check whether a proxy or firewall sent it"
            if response.is_client_error
            else "the token endpoint's response is not a JSON object"
        )
    if response.is_client_error:
        code = document.get("error")
        if code in TRANSIENT_CODES:
            raise TransientError(f"the token endpoint answered {code}")
        raise refusal(code, document.get("error_description"), status=status, clock=clock)
    try:
        return msgspec.convert(document, GrantedToken, strict=False)
    except msgspec.ValidationError as error:
        # Its text names a field and what is expected there, never a value.
        raise TransientError(f"the token endpoint's response is no token: {error}") from None


def _scopes(value: object) -> Collection[object]:
    if isinstance(value, str):
        return value.split()
    return value if isinstance(value, list) else ()
