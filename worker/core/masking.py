"""Masks what a text from outside may hold: identifiers, tokens, keys and passwords."""

import re
from typing import Final

from worker.core.recogniser import Recogniser

MASK: Final = "***"

_SECRETS: Final = re.compile(
    r"""
    (?P<keep>                          # digests and UUIDs may hold long runs of digits
        (?<![0-9A-Za-z])(?=[0-9a-f]*[a-f])[0-9a-f]{32,}(?![0-9A-Za-z])
      | (?<![0-9A-Za-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9A-Za-z])
    )
  | (?P<scheme>(?i:DPoP|Bearer))\s+[A-Za-z0-9._~+/\-]{16,}=*
  | eyJ[A-Za-z0-9_\-]{6,}(?:\.[A-Za-z0-9_\-]*){0,2} # no dot required: that would take square time
  | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
  | (?P<member>["'](?:d|p|q|dp|dq|qi|k)["']\s*:\s*)["'][A-Za-z0-9_\-]{16,}["']
  | (?P<user>://[^/\s:@]*):[^@/\s]+@
  | \d{11,}
  | (?<!\d)(?:\d{6}|\d\d([ ./\-_])\d\d\5\d\d)[ ./\-_]\d{5}(?!\d)
    """,
    re.VERBOSE | re.DOTALL,
)
_TOKENS: Final = re.compile(
    r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?"  # a JWS, complete or truncated
    r"|[A-Za-z0-9_+/=-]{40,}"  # any other long run: a reference token, a hash, a signature
)
_identifiers: Final = Recogniser(lambda _digits: MASK)


def masked(text: str) -> str:
    """The text without identifiers, in any spelling that the recogniser knows, and secrets.

    Eleven digits in a row, or in the usual groups, are masked even if they are no identifier.
    Digests and UUIDs are kept.
    """
    return _identifiers.text(_SECRETS.sub(_replacement, text))


def masked_strictly(text: str) -> str:
    """The same for an error text of another service, also without anything that may be a token."""
    return masked(_TOKENS.sub(MASK, text))


def _replacement(match: re.Match[str]) -> str:
    if match["keep"]:
        return match["keep"]
    if match["scheme"]:
        return f"{match['scheme']} {MASK}"
    if match["member"]:
        return f'{match["member"]}"{MASK}"'
    return f"{match['user']}:{MASK}@" if match["user"] is not None else MASK
