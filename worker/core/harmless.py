"""Which texts hold nobody's identifier, as may be seen at a glance.

Most of what PTS sends (codes, times, UUIDs, field names) is passed here. Whatever may hold eleven
digits in a spelling that ``worker.core.encodings`` undoes is not.
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
from worker.core.short_texts import Remembered

_HEX: Final = "[0-9A-Fa-f]"
NOT_IDENTIFIERS: Final = re.compile(
    rf"(?<![0-9A-Za-z]){_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}(?![0-9A-Za-z])"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+\-]\d\d:?\d\d)?"
    r"|(?<![0-9A-Za-z])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9A-Za-z])"
)
"""UUIDs, times, and digests such as pseudonyms: their digits are not somebody's."""

_LETTERS: Final = string.ascii_letters.encode()
_DIGITS: Final = string.digits.encode()
_LATIN: Final = frozenset({0xC3, *range(0x80, 0xC0)})
"""Bytes of U+0080 to U+00BF behind U+00C0 to U+00FF: letters such as ``ø``, which NFKC leaves."""
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

_SHAPES_MAX: Final = 512
_SHAPE_CHARS_MAX: Final = 1024


def may_hold_digits(text: str) -> bool:
    """Whether a text may hold eleven digits in any spelling. Many other texts may, too."""
    chars = text.encode(errors="surrogatepass")
    return (
        bool(chars.translate(None, _UNSIGNED))
        or _ELEVEN in chars.translate(_TO_DIGIT, _NEITHER)
        or _WORD in chars.translate(_TO_WORD)
    )


def without_separators(text: str) -> bytes:
    """A time, a UUID or a digest in UTF-8, without what stands between its digits."""
    return text.encode().translate(None, _BETWEEN)


def holds_text(text: str) -> bool:
    """Whether what looks like a digest or a UUID is the hexadecimal of a text with eleven digits.

    Of random ones that is fewer than one in ten million.
    """
    if text.count("3") < LENGTH:  # with which the hexadecimal of each digit begins
        return False
    try:
        content = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return False
    return digit_count(content) >= LENGTH


class Shape(NamedTuple):
    """What the names of an object's fields tell.

    Attributes:
        is_harmless: nobody's identifier can stand in any of them.
        authors: those that say who did something.
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


def _is_harmless_name(name: str) -> bool:
    return _is_harmless(name, ROUNDS_MAX)


remembered_suspects: Final = Remembered(may_hold_digits)
"""What ``may_hold_digits`` says of a text."""
harmless_names: Final = Remembered(_is_harmless_name)
"""Whether nobody's identifier can stand in a field name; looked at closely."""


class _Shapes(dict[tuple[str, ...], Shape]):
    def __missing__(self, names: tuple[str, ...]) -> Shape:
        is_harmless = all(map(harmless_names.__getitem__, names))
        shape = Shape(is_harmless, tuple(filter(is_author_field, names)))
        if sum(map(len, names)) <= _SHAPE_CHARS_MAX:
            if len(self) >= _SHAPES_MAX:
                self.clear()
            self[names] = shape
        return shape


shapes: Final = _Shapes()
"""What the names of an object's fields tell; remembered, as records repeat them."""
