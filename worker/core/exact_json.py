"""JSON that preserves the digits of large integers.

orjson reads an integer of more than 64 bits as a double: ``18446744073709551617`` becomes
``1.8446744073709552e19``. Texts without such integers are read and written by orjson alone.
"""

import json
import re
from typing import Any, Final

import orjson

from worker.core.value import Value

_DIGITS_MIN: Final = 19
"""Digits of the smallest integer that does not fit in 64 bits."""
_COPIED_BYTES_MAX: Final = 1024 * 1024
_TO_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
_LONG: Final = b"0" * _DIGITS_MIN
_MAYBE_INTEGER: Final = re.compile(rb"(?:^|[\s\[:,])-?[0-9]{%d,}(?:$|[\s\],}])" % _DIGITS_MIN)
_LEAST: Final = -(1 << 63)
_BEYOND: Final = 1 << 64


class LargeInteger(Value, frozen=True, kw_only=True):
    """An integer of more than 64 bits, as received. It does not support arithmetic."""

    hidden = frozenset({"digits"})

    digits: str


def loads(text: bytes | bytearray) -> Any:
    """Parse JSON, with a ``LargeInteger`` for each integer beyond 64 bits.

    Raises:
        json.JSONDecodeError: it is not JSON (RFC 8259) in UTF-8, or holds a number beyond the range
            of a double: 1e309, or an integer of 310 digits.
        RecursionError: it is nested too deeply.
    """
    document = orjson.loads(text)
    # Translating and searching a copy costs a tenth of a regular expression.
    is_small = len(text) <= _COPIED_BYTES_MAX
    if (is_small and _LONG not in text.translate(_TO_ZERO)) or not _MAYBE_INTEGER.search(text):
        return document
    # orjson has accepted the text, so it is JSON and each integer is short enough for ``int``.
    return json.loads(text.decode(), parse_int=_integer)


def dumps(document: Any, option: int = 0) -> bytes:
    """Compact JSON in UTF-8, with the digits of each ``LargeInteger``.

    Raises:
        orjson.JSONEncodeError: it is nested too deeply.
    """
    return orjson.dumps(document, default=_verbatim, option=option)


def canonical(document: Any) -> bytes:
    """Canonical form: compact JSON with sorted keys."""
    return dumps(document, orjson.OPT_SORT_KEYS)


def _integer(digits: str) -> int | LargeInteger:
    number = int(digits)
    return number if _LEAST <= number < _BEYOND else LargeInteger(digits=digits)


def _verbatim(value: Any) -> orjson.Fragment:
    if isinstance(value, LargeInteger):
        return orjson.Fragment(value.digits.encode())
    raise TypeError
