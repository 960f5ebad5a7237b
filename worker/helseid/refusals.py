"""HelseID's error responses with hints for the operator, and a clock that may explain them."""

import re
from datetime import datetime
from typing import Final

from worker.core.retry import parse_http_date
from worker.errors import RefusedError
from worker.offid import MASK, masked, masked_strictly

CLOCK_TOLERANCE_S: Final = 5.0
"""Tolerance of HelseID's reference check of a DPoP proof (HelseID reference, section 2)."""

CLOCK_HINT: Final = "synchronise this machine's clock (NTP; on Helsenett: ntp.nhn.no)"

_HINTS: Final = {
    "invalid_client": (
        "compare helseid.client_id and `pts-worker keys public` with self-service; a new key takes"
        " a minute"
    ),
    "unauthorized_client": "allow the client this grant (helseid.grant) in HelseID self-service",
    "unsupported_grant_type": "allow the client this grant (helseid.grant) in HelseID self-service",
    "invalid_scope": "add the scopes in helseid.scope to the client in HelseID self-service",
    "invalid_grant": (
        "the subject token has expired, was already used or was issued for another client: have"
        " the person sign in again and write the new token to helseid.subject_token_file"
    ),
    "invalid_target": "check helseid.scope; if it is right, ask NHN",
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
    "HID-1004": "organisation numbers have 9 digits: check helseid.organization_parent and _child",
    "HID-1005": "the client may not send a parent organisation: set helseid.tenancy to"
    " single-tenant, or register the client as multi-tenant",
    "HID-1006": "the client may not send a child organisation: remove helseid.organization_child,"
    " or enable it in HelseID self-service",
    "HID-1007": "HelseID does not accept the format of the organisation claim: check"
    " helseid.tenancy against the client's registration",
    "HID-1008": "HelseID does not accept shared secrets: register a key pair",
    "HID-1009": "the client is registered for another flow: use a machine-to-machine client",
    "HID-1010": "the client is not set up for organisation numbers: remove"
    " helseid.organization_parent and _child, or change it in HelseID self-service",
}

TRANSIENT_CODES: Final = ("temporarily_unavailable", "server_error", "slow_down")
"""Error codes by which a server asks to be called again (RFC 6749 §4.1.2.1, RFC 8628 §3.5)."""
_ORGANIZATION_CODE: Final = re.compile(r"HID-[0-9]{4}")
_ERROR_CODE: Final = re.compile(r"[A-Za-z][A-Za-z_.-]{0,63}")
"""Error codes of RFC 6749 and HelseID. Without digits, it cannot be a token."""
_DESCRIPTION_LENGTH_MAX: Final = 200
_TEXT_LENGTH_MAX: Final = 4000


def refusal(code: object, description: object, *, status: int, clock: str) -> RefusedError:
    """The error for an OAuth error response of the token endpoint.

    Args:
        code: ``error`` of the response, unchecked.
        description: ``error_description``, unchecked; possible secrets are masked.
        clock: what is wrong with the clock (``clock_problem``).
    """
    name = error_code(code)
    text = clean(description)
    message = f"HelseID refused the client: {name or f'HTTP {status}'}"
    if text:
        message += f" ({text})"
    if clock:
        return RefusedError(f"{message}; {clock}", code=name, hint=CLOCK_HINT)
    return RefusedError(message, code=name, hint=_hint(name, text, status))


def clock_ahead_s(date_header: str | None, now: datetime) -> float | None:
    """Seconds that ``now`` is ahead of a ``Date`` header; None without a valid header.

    Accurate to 1 to 2 s.
    """
    at = parse_http_date(date_header)
    return None if at is None else (now - at).total_seconds()


def clock_problem(date_header: str | None, now: datetime, *, whose: str) -> str:
    """A clause about a clock that differs by more than 5 s; empty if it does not or is unknown."""
    ahead_s = clock_ahead_s(date_header, now)
    if ahead_s is None or abs(ahead_s) <= CLOCK_TOLERANCE_S:
        return ""
    direction = "ahead of" if ahead_s > 0 else "behind"
    return f"this machine's clock is {abs(ahead_s):.0f} s {direction} {whose}"


def error_code(value: object) -> str:
    """The value if it is a valid OAuth error code; else empty."""
    if not isinstance(value, str) or not _ERROR_CODE.fullmatch(value):
        return ""
    return value if masked(value) == value else ""


def clean(text: object, *, without: str = "") -> str:
    """Untrusted text made safe for a message: one short line, with possible secrets masked.

    Args:
        text: unchecked; anything but a string of at most 4,000 characters gives an empty text.
            A longer one would have to be cut, and an identifier at the cut would not be found.
        without: a token to mask, whatever its format.
    """
    if not isinstance(text, str) or len(text) > _TEXT_LENGTH_MAX:
        return ""
    shown = "".join(char if char.isprintable() else " " for char in text)
    if without:
        shown = shown.replace(without, MASK)
    return masked_strictly(shown)[:_DESCRIPTION_LENGTH_MAX].strip()


def _hint(name: str, description: str, status: int) -> str:
    named_in_text = _ORGANIZATION_CODE.search(description)
    if named_in_text and named_in_text.group() in _HINTS:
        return _HINTS[named_in_text.group()]
    if name:
        return _HINTS.get(name, "see HelseID's documentation of error messages, or ask NHN")
    return f"HTTP {status} is not an OAuth error: check whether a proxy or firewall sent it"
