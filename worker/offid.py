"""Format and control digits of an ``offId`` (pts reference, section 9).

Eleven digits are required. Wrong control digits are only reported: synthetic numbers, felles
hjelpenummer and future numbers follow other rules. No date, sex or century is derived.
"""

from operator import mul
from typing import Final

LENGTH: Final = 11

_WEIGHTS_1: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1, 0)
_WEIGHTS_2: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)
_REMAINDERS_1: Final = frozenset({0, 1, 2, 3})
"""0 today; also 1, 2 and 3 for numbers issued from 1 January 2032 on (Skatteetaten)."""
_MODULUS: Final = 11


def normalise(text: str) -> str | None:
    """The 11 digits of the text, or None.

    Surrounding blanks are removed, and one space or hyphen after the sixth digit.
    """
    stripped = text.strip()
    if len(stripped) == LENGTH + 1 and stripped[6] in " -":
        stripped = stripped[:6] + stripped[7:]
    if len(stripped) == LENGTH and stripped.isascii() and stripped.isdigit():
        return stripped
    return None


def problem(text: str) -> str:
    """Why the text is not an identifier, without any part of the text."""
    stripped = text.strip()
    if not stripped:
        return "the identifier is empty"
    if not (stripped.isascii() and stripped.isdigit()):
        return f"the identifier must be {LENGTH} digits; other characters were found"
    lost = "; a leading zero may have been lost" if len(stripped) == LENGTH - 1 else ""
    return f"the identifier must be {LENGTH} digits; {len(stripped)} were found{lost}"


def is_h_number(digits: str) -> bool:
    """Whether 11 digits have the pattern of an H-number: day 01 to 31, month 41 to 52.

    An organisation assigns one to a patient whose number it does not know, for internal use only
    (HIS 1001:2010). NAV's synthetic persons have the same pattern.
    """
    return "01" <= digits[:2] <= "31" and "41" <= digits[2:4] <= "52"


def checksum_ok(digits: str) -> bool:
    """Whether both control digits are correct, by today's rule or that of 2032."""
    figures = list(map(int, digits))
    return (
        sum(map(mul, _WEIGHTS_2, figures)) % _MODULUS == 0
        and sum(map(mul, _WEIGHTS_1, figures)) % _MODULUS in _REMAINDERS_1
    )
