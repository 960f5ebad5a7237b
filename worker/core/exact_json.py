"""JSON in which integers keep their digits.

orjson reads an integer of more than 64 bits as a double, which changes it: ``18446744073709551617``
becomes ``1.8446744073709552e19``. Texts without such an integer, nearly all, are read and written
by orjson alone, so that their canonical form is what it always was.
"""

import json
import re
from typing import Any, Final

import orjson

from worker.core.value import Value

_DIGITS_MIN: Final = 19
"""The least integer that a signed or unsigned 64-bit number cannot hold has so many digits."""
_COPIED_BYTES_MAX: Final = 1024 * 1024
_TO_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
_LONG: Final = b"0" * _DIGITS_MIN
_MAYBE_INTEGER: Final = re.compile(rb"(?:^|[\s\[:,])-?[0-9]{%d,}(?:$|[\s\],}])" % _DIGITS_MIN)
_LEAST: Final = -(1 << 63)
_BEYOND: Final = 1 << 64


class LargeInteger(Value, frozen=True, kw_only=True):
    """An integer of more than 64 bits, as it was received. It is not a number to count with."""

    hidden = frozenset({"digits"})

    digits: str


def loads(text: bytes | bytearray) -> Any:
    """The document, with a ``LargeInteger`` for each integer that 64 bits do not hold.

    Raises:
        json.JSONDecodeError: it is not JSON (RFC 8259) in UTF-8, or holds a number that no double
            comes near: 1e309, or an integer of 310 digits.
        RecursionError: it is nested too deeply.
    """
    document = orjson.loads(text)
    # A translation and a search cost a tenth of what a regular expression costs, and a copy.
    is_small = len(text) <= _COPIED_BYTES_MAX
    if (is_small and _LONG not in text.translate(_TO_ZERO)) or not _MAYBE_INTEGER.search(text):
        return document
    # What orjson has read is JSON, and each integer short enough for ``int``.
    return json.loads(text.decode(), parse_int=_integer)


def dumps(document: Any, option: int = 0) -> bytes:
    """Compact JSON in UTF-8, each ``LargeInteger`` by its digits.

    Raises:
        orjson.JSONEncodeError: it is nested too deeply.
    """
    return orjson.dumps(document, default=_verbatim, option=option)


def canonical(document: Any) -> bytes:
    """Compact JSON with sorted keys: one text for one content."""
    return dumps(document, orjson.OPT_SORT_KEYS)


def _integer(digits: str) -> int | LargeInteger:
    number = int(digits)
    return number if _LEAST <= number < _BEYOND else LargeInteger(digits=digits)


def _verbatim(value: Any) -> orjson.Fragment:
    if isinstance(value, LargeInteger):
        return orjson.Fragment(value.digits.encode())
    raise TypeError
