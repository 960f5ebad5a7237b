"""Masks identifiers (pts reference, 9), tokens, keys and passwords in texts.

Stored texts, log lines, messages and errors are all masked here. An identifier is eleven digits
with valid check digits, undivided or with one space, dash, dot, slash or underscore between the
usual groups. Encoded, spelled-out or oddly split identifiers are not found. Therefore only declared
fields are stored.
"""

import re
from operator import mul
from typing import Final

OFF_ID_DIGITS: Final = 11
MASK: Final = "***"

_WEIGHTS_1: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1, 0)
_WEIGHTS_2: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)
_REMAINDERS_1: Final = frozenset({0, 1, 2, 3})
"""0 today, and also 1, 2 and 3 for numbers issued from 1 January 2032 (Skatteetaten)."""
_MODULUS: Final = 11
_GROUPED_DIGITS: Final = r"[0-9][0-9]S?[0-9]{2}S?[0-9]{2}S?[0-9]{3}S?[0-9]{2}".replace(
    "S", r"[\s./_\-\u2010-\u2015]"
)
_MAY_CONTAIN_IDENTIFIER: Final = re.compile(_GROUPED_DIGITS)
"""A first test, in a third of the time. Most texts contain no identifier."""
_CANDIDATE: Final = re.compile(rf"(?<![0-9])(?=({_GROUPED_DIGITS})(?![0-9]))")
"""A lookahead, so that matches can overlap: in ``12 0101 50505 70`` the first eleven digits match,
and so do the last eleven."""
_NON_DIGIT: Final = re.compile(r"[^0-9]")
_KEPT: Final = re.compile(
    r"(?<![0-9A-Za-z])"
    r"((?=[0-9a-f]*[a-f])[0-9a-f]{32,}|(?i:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|[0-9]{4}(?:-[0-9]{2}){2}[T ](?:[0-9]{2}:){2}[0-9]{2}\.[0-9]{1,9}(?:Z|[+-][0-9:]{2,5})?)"
    r"|20[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])(?:[01][0-9]|2[0-3])(?:[0-5][0-9]){1,2})"
    r"(?![0-9A-Za-z])"
)
"""Not identifiers, in spite of long runs of digits: digests, UUIDs and times."""
_SECRETS: Final = re.compile(
    r"""
    (?P<scheme>(?i:DPoP|Bearer))\s+[A-Za-z0-9._~+/\-]{16,}=*
  | eyJ[A-Za-z0-9_\-]{6,}(?:\.[A-Za-z0-9_\-]*){0,2} # a required dot would take quadratic time
  | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
  | (?P<member>["'](?:d|p|q|dp|dq|qi|k)["']\s*:\s*)["'][A-Za-z0-9_\-]{16,}["']
  | (?P<user>://[^/\s:@]*):[^@/\s]+@
  | \d{11,}
    """,
    re.VERBOSE | re.DOTALL,
)


def checksum_ok(digits: str) -> bool:
    """Whether both check digits are correct, by today's rule or that of 2032."""
    figures = list(map(int, digits))
    return (
        sum(map(mul, _WEIGHTS_2, figures)) % _MODULUS == 0
        and sum(map(mul, _WEIGHTS_1, figures)) % _MODULUS in _REMAINDERS_1
    )


def mask_identifiers(text: str, off_id: str = "") -> str:
    """The text with each identifier in it replaced by ``MASK``.

    Args:
        off_id: the identifier of the person being read. It is masked even if its check digits
            are wrong, also within longer numbers.
    """
    if len(text) < OFF_ID_DIGITS:
        return text
    # Before the pattern, which does not match within a longer number.
    if off_id:
        text = text.replace(off_id, MASK)
    if _MAY_CONTAIN_IDENTIFIER.search(text) is None or _KEPT.fullmatch(text):
        return text
    parts, end = list[str](), 0
    for match in _CANDIDATE.finditer(text):
        # Matches can overlap. The first valid one wins, and the next starts after it.
        start, after = match.span(1)
        digits = _NON_DIGIT.sub("", match[1])
        if start >= end and (digits == off_id or checksum_ok(digits)):
            parts += text[end:start], MASK
            end = after
    return "".join((*parts, text[end:])) if parts else text


def masked(text: str) -> str:
    """The text for a log, a message or an error, without identifiers and secrets.

    Eleven or more digits in a row are masked even if the check digits are wrong. Digests, UUIDs
    and times are kept.
    """
    # The pattern has one group, so the pieces at odd positions are the kept texts.
    pieces = _KEPT.split(text)
    pieces[::2] = [mask_identifiers(_SECRETS.sub(_replacement, piece)) for piece in pieces[::2]]
    return "".join(pieces)


def _replacement(match: re.Match[str]) -> str:
    if match["scheme"]:
        return f"{match['scheme']} {MASK}"
    if match["member"]:
        return f'{match["member"]}"{MASK}"'
    return f"{match['user']}:{MASK}@" if match["user"] is not None else MASK
