"""HelseID's refusals: what each means, and what whoever runs the worker can do."""

import re
from typing import Final

from worker.errors import RefusedError

CLOCK_TOLERANCE_S: Final = 5.0
"""HelseID's own reference check of a proof grants 5 s (HelseID reference, section 2)."""

_CLOCK_HINT: Final = "synchronise this machine's clock (NTP; on Helsenett: ntp.nhn.no)"

_HINTS: Final = {
    "invalid_client": (
        "check helseid.client_id, that it belongs to helseid.issuer, and that the public half of"
        " helseid.private_jwk_file is registered in self-service and has not expired; a new key"
        " takes up to 20 s to be known (pts-worker keys public shows it)"
    ),
    "unauthorized_client": "allow the client this grant (helseid.grant) in HelseID self-service",
    "unsupported_grant_type": "allow the client this grant (helseid.grant) in HelseID self-service",
    "invalid_scope": "give the client the scopes of helseid.scope in HelseID self-service",
    "invalid_grant": (
        "the subject token is expired, used up or not meant for this client: have the person sign"
        " in again and write the new token to helseid.subject_token_file"
    ),
    "invalid_target": "check helseid.resource",
    "invalid_request": (
        "check helseid.sender_constraint and the organisation numbers against the client's"
        " registration in HelseID self-service"
    ),
    "invalid_dpop_proof": "if the clock is right, report this to the developers of the worker",
    "use_dpop_nonce": "HelseID did not accept its own nonces: run again later, or ask NHN",
}

_ORGANIZATION_HINTS: Final = {
    "HID-1001": "the parent organisation is not on the client's list: check"
    " helseid.organization_parent and its delegation to you (Altinn)",
    "HID-1002": "the child organisation is not on the client's list: check"
    " helseid.organization_child or add it in HelseID self-service",
    "HID-1003": "the child organisation is not on that parent's list: check"
    " helseid.organization_child",
    "HID-1004": "organisation numbers have 9 digits: check helseid.organization_parent and _child",
    "HID-1005": "the client may not name a parent organisation: set helseid.tenancy to"
    " single-tenant, or have the client registered as multi-tenant",
    "HID-1006": "the client may not name a child organisation: leave helseid.organization_child"
    " out, or have it enabled in HelseID self-service",
    "HID-1007": "the organisation claim is not as HelseID wants it: check helseid.tenancy against"
    " the client's registration",
    "HID-1008": "HelseID takes no shared secrets: register a key pair",
    "HID-1009": "the client is registered for another flow: use a machine-to-machine client",
    "HID-1010": "the client is not set up for organisation numbers: leave"
    " helseid.organization_parent and _child out, or change it in HelseID self-service",
}

_ORGANIZATION_CODE: Final = re.compile(r"HID-[0-9]{4}")
_ERROR_CODE: Final = re.compile(r"[A-Za-z][A-Za-z_.-]{0,63}")
"""As RFC 6749 and HelseID name errors: words. Without a digit it is no identifier and no token."""
_DESCRIPTION_LENGTH_MAX: Final = 200
_SECRETS: Final = re.compile(
    r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?"  # a JWS, whole or cut
    r"|[A-Za-z0-9_+/=-]{40,}"  # any other long run: a reference token, a hash, a signature
    r"|[0-9]{11,}"  # a national identifier
    r"|(?<![0-9])(?:[0-9]{6}|[0-9]{2}([ ./-])[0-9]{2}\2[0-9]{2})[ -][0-9]{5}(?![0-9])"  # in groups
)


def refusal(
    code: object, description: object, *, status: int, clock_ahead_s: float | None
) -> RefusedError:
    """The error for an OAuth error answer of the token endpoint.

    Args:
        code: ``error`` of the answer, as it came.
        description: ``error_description``, as it came; shown without what may be a secret.
        status: the HTTP status.
        clock_ahead_s: how far this machine's clock is ahead of HelseID's, if known.
    """
    name = error_code(code)
    described = clean(description)
    message = f"HelseID refused the client: {name or f'HTTP {status}'}"
    if described:
        message += f" ({described})"
    clock = clock_problem(clock_ahead_s, whose="HelseID's")
    if clock:
        return RefusedError(f"{message}; {clock}", code=name, hint=_CLOCK_HINT)
    return RefusedError(message, code=name, hint=_hint(name, described, status))


def clock_problem(clock_ahead_s: float | None, *, whose: str) -> str:
    """One clause on a clock that is off by more than 5 s; empty if it is not, or not known."""
    if clock_ahead_s is None or abs(clock_ahead_s) <= CLOCK_TOLERANCE_S:
        return ""
    way = "ahead of" if clock_ahead_s > 0 else "behind"
    return f"this machine's clock is {abs(clock_ahead_s):.0f} s {way} {whose}"


def error_code(value: object) -> str:
    """An OAuth error code, if it looks like one; else empty."""
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else ""


def clean(text: object, *, without: str = "") -> str:
    """A text from outside, fit for a message: one line, short, without anything like a secret.

    Args:
        text: as it came; what is no text is empty.
        without: a token that it must not hold, whatever it looks like.
    """
    if not isinstance(text, str):
        return ""
    shown = "".join(char if char.isprintable() else " " for char in text[:4000])
    if without:
        shown = shown.replace(without, "***")
    return _SECRETS.sub("***", shown)[:_DESCRIPTION_LENGTH_MAX].strip()


def _hint(name: str, described: str, status: int) -> str:
    found = _ORGANIZATION_CODE.search(described)
    if found and found.group() in _ORGANIZATION_HINTS:
        return _ORGANIZATION_HINTS[found.group()]
    if name:
        return _HINTS.get(name, "see HelseID's error messages, or ask NHN")
    return f"HTTP {status} is no OAuth error: did a proxy or firewall answer in HelseID's place?"
