"""The encodings in which a text may hold another one, undone.

Percent-encoding, HTML entities, escapes, quoted-printable and markup stand within a text and give
its layers. Base64 and hexadecimal hold a text of their own.

What is decoded keeps the places that it had. Python works on escapes alone; everything between
them is copied or searched by the interpreter's own code.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from worker.core.offid import LENGTH

ROUNDS_MAX: Final = 4
"""Encodings within encodings that are undone."""
BASE64_MIN: Final = 15
"""Characters of base64 that eleven bytes take."""
SIGNS: Final = "%&\\=<"
"""With one of these each encoding begins that stands within a text."""

_HEX_MIN: Final = 2 * LENGTH
_ENTITY_MAX: Final = 12
_TAG_MAX: Final = 40
_ENCODED: Final = re.compile(f"[{re.escape(SIGNS)}]")
_ESCAPE: Final = r"%[0-9A-Za-z]{2}|&|\\x[0-9A-Za-z]{2}|\\u[0-9A-Za-z]{4}|\\U[0-9A-Za-z]{8}"
_ESCAPES: Final = {
    "": re.compile(_ESCAPE),
    "=": re.compile(f"{_ESCAPE}|=[0-9A-Za-z]{{2}}"),
    "<": re.compile(f"{_ESCAPE}|<[^>]{{0,{_TAG_MAX - 2}}}>"),
}
"""What may be an escape. ``=`` and ``<`` are read as quoted-printable and markup in layers of
their own alone: in ``?id=12…`` and ``<12…>`` they would take digits away."""
_BARE_ENTITY: Final = re.compile(r"&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})")
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/_\-]{{{BASE64_MIN},}}")
_HEX: Final = re.compile(rf"[0-9A-Fa-f]{{{_HEX_MIN},}}")
_NO_DIGITS: Final = bytes(byte for byte in range(256) if not 0x30 <= byte <= 0x39)  # noqa: PLR2004
_CODES: Final = 0x110000


class Layer(NamedTuple):
    """The characters of a text as decoded, each with the part of the text that it stands for.

    Attributes:
        has_gaps: some neighbours are none in the text, as markup stood between them.
    """

    chars: str
    starts: Sequence[int]
    ends: Sequence[int]
    has_gaps: bool = False


class Content(NamedTuple):
    """What a part of a text holds in base64 or hexadecimal.

    Attributes:
        text: the content, and the encoding in which it was bytes.
        word: the place of the word, end exclusive.
        start: where in the word's text the content begins.
        packing: how many characters stand for how many bytes.
    """

    text: str
    encoding: str
    word: tuple[int, int]
    start: int
    packing: tuple[int, int]

    def places(self, parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Where in the outer text the characters stand that hold parts of the content, in order."""
        chars, size = self.packing
        at = count = 0
        for part in parts:
            before = count + len(self.text[at : part[0]].encode(self.encoding, "replace"))
            after = before + len(self.text[part[0] : part[1]].encode(self.encoding, "replace"))
            end = self.start - (-after // size) * chars
            yield self.start + before // size * chars, min(end, self.word[1])
            at, count = part[1], after


def digit_count(content: bytes) -> int:
    """How many bytes are ASCII digits."""
    return len(content.translate(None, _NO_DIGITS))


def layers(text: str) -> Iterator[Layer]:
    """The characters of a text, folded: as they stand, and with each layer of encoding undone."""
    plain = Layer(text, range(len(text)), range(1, len(text) + 1))
    yield _folded_layer(plain)
    if not _ENCODED.search(text):
        return
    for sign in _ESCAPES:
        if sign not in text:
            continue
        layer = plain
        for _ in range(ROUNDS_MAX):
            decoded = _decode(layer, sign)
            if decoded is layer:
                break
            layer = decoded
            yield _folded_layer(layer)


def contents(text: str) -> Iterator[Content]:
    """What words of base64 and hexadecimal hold, if that may hold an identifier."""
    for pattern, unpack, packing in ((_BASE64, _from_base64, (4, 3)), (_HEX, _from_hex, (2, 1))):
        for word in pattern.finditer(text):
            for start, content in unpack(word[0]):
                inner, encoding = _decoded(content)
                if digit_count(content) >= LENGTH or _BASE64.search(inner):
                    yield Content(inner, encoding, word.span(), word.start() + start, packing)


def _folded_layer(layer: Layer) -> Layer:
    """The layer with each character by NFKC, digits of every script as ASCII.

    Neighbours that are none in the text (markup stood between them, or one character became
    several) have a blank between them.
    """
    chars = layer.chars
    if not chars.isascii():
        folded = {ord(char): _folded(char) for char in set(chars) if not char.isascii()}
        if any(len(several) != 1 for several in folded.values()):
            layer = _spread(layer, folded)
        elif any(ord(one) != code for code, one in folded.items()):
            layer = layer._replace(chars=chars.translate(folded))
    return _with_blanks(layer) if layer.has_gaps else layer


def _spread(layer: Layer, folded: Mapping[int, str]) -> Layer:
    """The layer with several characters, or none, in the place of one."""
    places = [
        (one, start, end)
        for char, start, end in zip(layer.chars, layer.starts, layer.ends, strict=True)
        for one in folded.get(ord(char), char)
    ]
    return Layer(
        "".join([one for one, _, _ in places]),
        [start for _, start, _ in places],
        [end for _, _, end in places],
        has_gaps=True,
    )


def _with_blanks(layer: Layer) -> Layer:
    chars, starts, ends, _ = layer
    parts: list[str] = []
    new_starts: list[int] = []
    new_ends: list[int] = []
    kept = 0
    for at, (start, end) in enumerate(zip(starts[1:], ends, strict=False), 1):
        if start != end:
            parts += chars[kept:at], " "
            new_starts += starts[kept:at]
            new_ends += ends[kept:at]
            new_starts.append(start)
            new_ends.append(start)
            kept = at
    parts.append(chars[kept:])
    new_starts += starts[kept:]
    new_ends += ends[kept:]
    return Layer("".join(parts), new_starts, new_ends)


@lru_cache(maxsize=4096)
def _folded(char: str) -> str:
    """A character as others, of which none is a mere mark beside a letter or digit."""
    folded = "".join(
        one if (digit := unicodedata.digit(one, None)) is None else str(digit)
        for one in unicodedata.normalize("NFKC", char)
    )
    return folded if len(folded) == 1 else "".join(filter(str.isalnum, folded))


def _decode(layer: Layer, sign: str) -> Layer:
    """One layer of percent-encoding, entities and escapes undone; the same object if none is."""
    chars, starts, ends, has_gaps = layer
    parts: list[str] = []
    new_starts: list[int] = []
    new_ends: list[int] = []
    kept = 0
    for match in _ESCAPES[sign].finditer(chars):
        at = match.start()
        if at < kept:  # an entity has taken it
            continue
        char, taken = _unescaped(chars, at, match[0])
        if not taken:
            continue
        parts += chars[kept:at], char
        new_starts += starts[kept:at]
        new_ends += ends[kept:at]
        kept = at + taken
        has_gaps = has_gaps or not char
        if char:
            new_starts.append(starts[at])
            new_ends.append(ends[kept - 1])
    if not kept:
        return layer
    parts.append(chars[kept:])
    new_starts += starts[kept:]
    new_ends += ends[kept:]
    return Layer("".join(parts), new_starts, new_ends, has_gaps)


def _unescaped(chars: str, at: int, escape: str) -> tuple[str, int]:
    """The character that an escape stands for and how many it takes; none if it is no escape."""
    match escape[0]:
        case "&":
            return _entity(chars[at : at + _ENTITY_MAX])
        case "<":
            return "", len(escape)
        case "\\":
            digits = escape[2:]
        case _:
            digits = escape[1:]
    try:
        code = int(digits, 16)
    except ValueError:
        return "", 0
    return (chr(code), len(escape)) if code < _CODES else ("", 0)


@lru_cache(maxsize=1024)
def _entity(word: str) -> tuple[str, int]:
    """The character of an HTML entity and what it takes, with or without semicolon."""
    end = word.find(";") + 1
    if not end:
        form = _BARE_ENTITY.match(word)
        end = form.end() if form else 0
    char = html.unescape(word[:end]) if end else ""
    return (char, end) if len(char) == 1 and end > 1 else ("", 0)


def _from_base64(word: str) -> Iterator[tuple[int, bytes]]:
    """What a word may hold, wherever in it the base64 begins."""
    standard = word.replace("-", "+").replace("_", "/")
    for start in range(4):
        part = standard[start:]
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        try:
            yield start, base64.b64decode(part + "=" * (-len(part) % 4))
        except binascii.Error:
            continue


def _from_hex(word: str) -> Iterator[tuple[int, bytes]]:
    for start in range(2):
        part = word[start:]
        yield start, bytes.fromhex(part[: len(part) // 2 * 2])


def _decoded(content: bytes) -> tuple[str, str]:
    """Bytes as text, and how; UTF-16 leaves NULs between its digits, which are passed over."""
    try:
        return content.decode(), "utf-8"
    except UnicodeDecodeError:
        return content.decode("ascii", "replace"), "ascii"
