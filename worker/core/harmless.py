"""Fast checks that a text cannot hold a person's identifier.

Most texts from PTS (codes, times, UUIDs, field names) pass. A text that may hold eleven digits in
an encoding known to ``worker.core.encodings`` does not, and gets the full check.
"""

import re
import string
from typing import Final, NamedTuple

from worker.core.authors import is_author_field
from worker.core.encodings import (
    BASE64_MIN,
    ROUNDS_MAX,
    SIGNS,
    contents,
    digit_count,
    layers,
)
from worker.core.offid import LENGTH
from worker.core.remembered import Remembered, RememberedNames

_HEX: Final = "[0-9A-Fa-f]"
NOT_IDENTIFIERS: Final = re.compile(
    rf"(?<![0-9A-Za-z]){_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}(?![0-9A-Za-z])"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+\-]\d\d:?\d\d)?"
    r"|(?<![0-9A-Za-z])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9A-Za-z])"
)
"""UUIDs, times, and digests such as pseudonyms: their digits are not an identifier."""

_LETTERS: Final = string.ascii_letters.encode()
_DIGITS: Final = string.digits.encode()
_LATIN: Final = frozenset({0xC3, *range(0x80, 0xC0)})
"""UTF-8 bytes of U+00C0 to U+00FF: letters such as ``ø``, which NFKC does not change."""
_UNSIGNED: Final = bytes(
    byte
    for byte in range(256)
    if (byte < 0x80 or byte in _LATIN) and byte not in SIGNS.encode()  # noqa: PLR2004
)
_NEITHER: Final = bytes(byte for byte in range(256) if byte not in _LETTERS + _DIGITS)
_TO_DIGIT: Final = bytes.maketrans(_DIGITS, b"0" * len(_DIGITS))
_ELEVEN: Final = b"0" * LENGTH
_OF_BASE64: Final = _LETTERS + _DIGITS + b"+/_-"
_TO_WORD: Final = bytes(ord("a" if byte in _OF_BASE64 else " ") for byte in range(256))
_WORD: Final = b"a" * BASE64_MIN
_BETWEEN: Final = b"-:.,+ "


def may_hold_digits(text: str) -> bool:
    """Whether a text may hold eleven digits in any encoding; false positives are possible."""
    chars = text.encode(errors="surrogatepass")
    return (
        bool(chars.translate(None, _UNSIGNED))
        or _ELEVEN in chars.translate(_TO_DIGIT, _NEITHER)
        or _WORD in chars.translate(_TO_WORD)
    )


def without_separators(text: str) -> bytes:
    """A time, a UUID or a digest in UTF-8, without separators."""
    return text.encode().translate(None, _BETWEEN)


def holds_text(text: str) -> bool:
    """Whether a digest or UUID is really a text with eleven digits in hexadecimal.

    Fewer than one in ten million random ones match.
    """
    if text.count("3") < LENGTH:  # each digit in hexadecimal begins with 3
        return False
    try:
        content = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return False
    return digit_count(content) >= LENGTH


class Shape(NamedTuple):
    """Properties of an object's field names.

    Attributes:
        is_harmless: no name can hold an identifier.
        authors: the names of author fields.
    """

    is_harmless: bool
    authors: tuple[str, ...]


def _is_harmless(text: str, rounds: int) -> bool:
    if len(text) < LENGTH or not may_hold_digits(text):
        return len(text) >= LENGTH or not text.isdigit()
    digits = [sum(map(str.isdigit, layer.chars)) for layer in layers(text)]
    if max(digits) >= LENGTH:
        return False
    return not rounds or all(_is_harmless(inner.text, rounds - 1) for inner in contents(text))


remembered_suspects: Final = Remembered(may_hold_digits)
"""Cached results of ``may_hold_digits``."""
harmless_names: Final = Remembered(lambda name: _is_harmless(name, ROUNDS_MAX))
"""Whether a field name cannot hold an identifier, by the full check; cached."""


def _shape(names: tuple[str, ...]) -> Shape:
    is_harmless = all(map(harmless_names.__getitem__, names))
    return Shape(is_harmless, tuple(filter(is_author_field, names)))


shapes: Final = RememberedNames(_shape)
"""The shape of an object by its field names; cached, because records repeat them."""
