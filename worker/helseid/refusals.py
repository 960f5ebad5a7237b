"""Classifies answers of the token endpoint: a token, a refusal with a remedy, or neither. Pure."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Final

import httpx
import msgspec

from worker.core.retry import parse_http_date
from worker.errors import RefusedError, TransientError
from worker.helseid.client import json_object

_CLOCK_TOLERANCE_S: Final = 5.0
"""Tolerance of HelseID's reference check of a DPoP proof (HelseID reference, section 2)."""

CLOCK_HINT: Final = "synchronise this machine's clock (NTP; on Helsenett: ntp.nhn.no)"

_SCOPE_HINT: Final = (
    "compare helseid.scope (PTS's is nhn:pts/api) with the client in HelseID self-service: correct"
    " it, or add that scope there and sign its terms of use"
)
_HINTS: Final = {
    "invalid_client": (
        "compare helseid.client_id and `pts-worker keys public` with self-service, and the clock"
        " with NTP"
    ),
    "unauthorized_client": "allow the client this grant (helseid.grant) in HelseID self-service",
    "unsupported_grant_type": "allow the client this grant (helseid.grant) in HelseID self-service",
    "invalid_scope": _SCOPE_HINT,
    "invalid_grant": (
        "the subject token has expired, was already used or was issued for another client: have"
        " the person sign in again and write the new token to helseid.subject_token_file"
    ),
    "invalid_target": _SCOPE_HINT,
    "invalid_request": (
        "check helseid.sender_constraint and the organisation numbers against the client's"
        " registration in HelseID self-service"
    ),
    "invalid_dpop_proof": "if the clock is correct, report this as a bug in the worker",
    "use_dpop_nonce": "HelseID did not accept its own nonces: try again later, or ask NHN",
    "HID-1001": "the parent organisation is not on the client's list: check"
    " helseid.organization_parent and its delegation to you (Altinn)",
    "HID-1002": "the child organisation is not on the client's list: check"
    " helseid.organization_child or add it in HelseID self-service",
    "HID-1003": "the child organisation is not on that parent's list: check"
    " helseid.organization_child",
    "HID-1005": "the client may not send a parent organisation: set helseid.tenancy to"
    " single-tenant, or register the client as multi-tenant",
    "HID-1006": "the client may not send a child organisation: remove helseid.organization_child,"
    " or enable it in HelseID self-service",
    "HID-1007": "HelseID does not accept the format of the organisation claim: check"
    " helseid.tenancy against the client's registration",
    "HID-1009": "the client is registered for another flow: use a machine-to-machine client",
    "HID-1010": "the client is not set up for organisation numbers: remove"
    " helseid.organization_parent and _child, or change it in HelseID self-service",
}

_TRANSIENT_CODES: Final = ("temporarily_unavailable", "server_error", "slow_down")
"""Error codes that ask for a retry (RFC 6749 §4.1.2.1, RFC 8628 §3.5)."""
_ORGANIZATION_CODE: Final = re.compile(r"HID-[0-9]{4}")
_CODES: Final = frozenset(
    {
        # RFC 6749 (OAuth 2.0), 6750 (bearer tokens)
        "access_denied",
        "insufficient_scope",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_token",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_response_type",
        # RFC 8628 (devices), 8707 (resources), 9449 (DPoP), 9470 (step-up authentication)
        "authorization_pending",
        "expired_token",
        "slow_down",
        "invalid_target",
        "invalid_dpop_proof",
        "use_dpop_nonce",
        "insufficient_user_authentication",
    }
)
_UNKNOWN_CODE: Final = "unknown error code"
"""Replaces a code that is in no RFC, because it could contain a secret or an identifier."""


class GrantedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as the endpoint sends it. It is opaque. ``expires_in`` may be a string of digits."""

    access_token: Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]+\Z")]
    expires_in: Annotated[float, msgspec.Meta(gt=0)]
    token_type: Any = None
    scope: Any = None
    rejected_scope: Any = None

    def require(self, constraint: str, scopes: Collection[str]) -> None:
        """Check the type and the scopes. Without ``scope``, all are granted (RFC 6749 §5.1).

        Raises:
            RefusedError: type or scopes differ from the request.
        """
        # A bearer token works without the proof key, so a stolen one could be used.
        if str(self.token_type).casefold() != constraint:
            raise RefusedError(
                f"HelseID issued a token that is not of type {constraint!r}",
                code="token_type",
                hint="set helseid.sender_constraint to match the client's registration in "
                "self-service",
            )
        granted = scopes if self.scope is None else _scopes(self.scope)
        rejected = _scopes(self.rejected_scope)
        if missing := [name for name in scopes if name not in granted or name in rejected]:
            raise RefusedError(
                f"HelseID issued a token without the scope {' '.join(missing)}",
                code="insufficient_scope",
                hint=_SCOPE_HINT,
            )


def granted_token(response: httpx.Response, *, clock: str = "") -> GrantedToken:
    """The token in a response.

    Any other response is retried and then counts as an outage of HelseID. It usually comes from a
    firewall or a captive portal.

    Args:
        clock: the problem with the clock, or empty.

    Raises:
        TransientError: it is neither a token nor a refusal.
        RefusedError: HelseID refuses the client.
    """
    document = json_object(response)
    # Redirects are never followed: an assertion must not reach another host.
    if document is None or response.is_redirect:
        raise TransientError(
            f"the token endpoint's response (HTTP {response.status_code}) is not a JSON object: "
            "check whether a proxy or firewall sent it"
        )
    if response.is_client_error:
        code = document.get("error")
        if code in _TRANSIENT_CODES:
            raise TransientError(f"the token endpoint answered {code}")
        raise _refusal(document, status=response.status_code, clock=clock)
    try:
        return msgspec.convert(document, GrantedToken, strict=False)
    except msgspec.ValidationError as error:
        # msgspec's text has the field and the expected type, never a value.
        raise TransientError(f"the token endpoint's response is no token: {error}") from None


def _scopes(value: object) -> Collection[object]:
    if isinstance(value, str):
        return value.split()
    return value if isinstance(value, list) else ()


def _refusal(document: dict[str, Any], *, status: int, clock: str) -> RefusedError:
    """The error for an OAuth error response. It repeats no text of the response."""
    code = error_code(document.get("error"))
    message = f"HelseID refused the client: {refusal_of(status, code)}"
    if clock:
        return RefusedError(f"{message}; {clock}", code=code, hint=CLOCK_HINT)
    hint = _hint(code, document.get("error_description"), status)
    return RefusedError(message, code=code, hint=hint)


def refusal_of(status: int, code: str) -> str:
    """A refusal in our own words: the status, and the error code if there is one."""
    return f"{status} {code}".rstrip()


def _hint(code: str, description: object, status: int) -> str:
    # HelseID puts its own code into the description, and the OAuth code is only invalid_request.
    match = _ORGANIZATION_CODE.search(description) if isinstance(description, str) else None
    if match and match.group() in _HINTS:
        return _HINTS[match.group()]
    if code:
        return _HINTS.get(code, "see HelseID's documentation of error messages, or ask NHN")
    return f"HTTP {status} is not an OAuth error: check whether a proxy or firewall sent it"


def clock_problem(date_header: str | None, now: datetime, *, whose: str) -> str:
    """A clause about a clock that differs by more than 5 s. Empty if it does not, or is unknown."""
    at = parse_http_date(date_header)
    ahead_s = (now - at).total_seconds() if at is not None else 0.0
    if abs(ahead_s) <= _CLOCK_TOLERANCE_S:
        return ""
    direction = "ahead of" if ahead_s > 0 else "behind"
    return f"this machine's clock is {abs(ahead_s):.0f} s {direction} {whose}"


def error_code(value: object) -> str:
    """An error code of the RFCs, or ``_UNKNOWN_CODE``. Empty if there is none."""
    if not isinstance(value, str) or not value:
        return ""
    return value if value in _CODES else _UNKNOWN_CODE
