"""Decodes the encodings in which a text may hide another text.

Percent-encoding, HTML entities, escapes, quoted-printable and markup are decoded in place and give
the layers of a text. Base64 and hexadecimal words hold a separate text.

Decoded characters keep their positions in the original text. For speed, Python code handles only
the escapes; built-in functions copy and search everything between them.
"""

import base64
import binascii
import html
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from worker.core.offid import LENGTH

ROUNDS_MAX: Final = 4
"""Maximum depth of nested encodings."""
BASE64_MIN: Final = 15
"""Base64 characters for eleven bytes."""
SIGNS: Final = "%&\\=<"
"""The first characters of the encodings that are decoded in place."""

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
"""Possible escapes. Quoted-printable (``=``) and markup (``<``) have separate layers, because they
would remove digits from ``?id=12…`` and ``<12…>``."""
_BARE_ENTITY: Final = re.compile(r"&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})")
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/_\-]{{{BASE64_MIN},}}")
_HEX: Final = re.compile(rf"[0-9A-Fa-f]{{{_HEX_MIN},}}")
_NO_DIGITS: Final = bytes(byte for byte in range(256) if not 0x30 <= byte <= 0x39)  # noqa: PLR2004
_CODES: Final = 0x110000


class Layer(NamedTuple):
    """The decoded characters of a text, each with its position in the original text.

    Attributes:
        has_gaps: some characters are adjacent only because markup between them was removed.
    """

    chars: str
    starts: Sequence[int]
    ends: Sequence[int]
    has_gaps: bool = False


class Place(NamedTuple):
    """Where an identifier stands in a text: end exclusive.

    Attributes:
        beside: what else stands in these characters, to be kept beside the replacement. Otherwise
            two keys that differ there alone would become one.
    """

    start: int
    end: int
    beside: str


class Content(NamedTuple):
    """The decoded content of a base64 or hexadecimal word.

    Attributes:
        raw: the content.
        text: the content as text.
        encoding: the encoding of the text.
        word: position of the word in the outer text, end exclusive.
        start: position in the outer text at which the content begins.
        packing: encoded characters, and the bytes they stand for.
    """

    raw: bytes
    text: str
    encoding: str
    word: tuple[int, int]
    start: int
    packing: tuple[int, int]

    def places(self, parts: Iterable[tuple[int, int]]) -> Iterator[Place]:
        """The positions in the outer text of parts of the content, in order."""
        chars, size = self.packing
        at = count = 0
        for part in parts:
            before = count + len(self.text[at : part[0]].encode(self.encoding, "replace"))
            after = before + len(self.text[part[0] : part[1]].encode(self.encoding, "replace"))
            first, last = before // size * size, -(-after // size) * size
            yield Place(
                start=self.start + first // size * chars,
                end=min(self.start + last // size * chars, self.word[1]),
                beside=_hexadecimal(self.raw[first:before], self.raw[after:last]),
            )
            at, count = part[1], after


def _hexadecimal(*neighbours: bytes) -> str:
    """The bytes that share encoded characters with an identifier; empty if there are none."""
    return "-".join(("", *(part.hex() for part in neighbours))) if any(neighbours) else ""


def digit_count(content: bytes) -> int:
    """The number of ASCII digits."""
    return len(content.translate(None, _NO_DIGITS))


def layers(text: str) -> Iterator[Layer]:
    """The folded characters of a text, first undecoded, then after each layer of decoding."""
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
    """The contents of base64 and hexadecimal words that may hold an identifier."""
    for pattern, unpack, packing in ((_BASE64, _from_base64, (4, 3)), (_HEX, _from_hex, (2, 1))):
        for word in pattern.finditer(text):
            for start, content in unpack(word[0]):
                inner, encoding = _decoded(content)
                if digit_count(content) >= LENGTH or _BASE64.search(inner):
                    yield Content(
                        content, inner, encoding, word.span(), word.start() + start, packing
                    )


def _folded_layer(layer: Layer) -> Layer:
    """Normalise a layer with NFKC, with digits of every script as ASCII.

    A blank separates characters that are not adjacent in the text (markup was removed, or one
    character became several).
    """
    chars = layer.chars
    if not chars.isascii():
        folded = {ord(char): _folded(char) for char in set(chars) if not char.isascii()}
        if any(len(several) != 1 for several in folded.values()):
            layer = _spread(layer, folded)
        elif any(ord(char) != code for code, char in folded.items()):
            layer = layer._replace(chars=chars.translate(folded))
    return _with_blanks(layer) if layer.has_gaps else layer


def _spread(layer: Layer, folded: Mapping[int, str]) -> Layer:
    """The layer with some characters replaced by several characters."""
    parts: list[str] = []
    starts, ends = array("L"), array("L")
    for char, start, end in zip(layer.chars, layer.starts, layer.ends, strict=True):
        part = folded.get(ord(char), char)
        parts.append(part)
        starts.extend([start] * len(part))
        ends.extend([end] * len(part))
    return Layer("".join(parts), starts, ends, has_gaps=True)


def _with_blanks(layer: Layer) -> Layer:
    chars, starts, ends, _ = layer
    parts: list[str] = []
    new_starts, new_ends = array("L"), array("L")
    kept = 0
    for at, (start, end) in enumerate(zip(starts[1:], ends, strict=False), 1):
        if start != end:
            parts += chars[kept:at], " "
            new_starts.extend(starts[kept:at])
            new_ends.extend(ends[kept:at])
            new_starts.append(start)
            new_ends.append(start)
            kept = at
    parts.append(chars[kept:])
    new_starts.extend(starts[kept:])
    new_ends.extend(ends[kept:])
    return Layer("".join(parts), new_starts, new_ends)


@lru_cache(maxsize=4096)
def _folded(char: str) -> str:
    """A character after NFKC and digit folding; several characters only if they hold digits.

    Of U+FDFA NFKC makes 18 letters. They separate digits as one letter does.
    """
    folded = "".join(
        part if (digit := unicodedata.digit(part, None)) is None else str(digit)
        for part in unicodedata.normalize("NFKC", char)
    )
    if len(folded) == 1:
        return folded
    alphanumeric = "".join(filter(str.isalnum, folded))
    return alphanumeric if any(map(str.isdigit, folded)) else alphanumeric[:1] or " "


def _decode(layer: Layer, sign: str) -> Layer:
    """Decode one layer of escapes; return the same object if there are none."""
    chars, starts, ends, has_gaps = layer
    parts: list[str] = []
    new_starts, new_ends = array("L"), array("L")
    kept = 0
    for match in _ESCAPES[sign].finditer(chars):
        at = match.start()
        if at < kept:  # an entity has taken it
            continue
        char, taken = _unescaped(chars, at, match[0])
        if not taken:
            continue
        parts += chars[kept:at], char
        new_starts.extend(starts[kept:at])
        new_ends.extend(ends[kept:at])
        kept = at + taken
        has_gaps = has_gaps or not char
        if char:
            new_starts.append(starts[at])
            new_ends.append(ends[kept - 1])
    if not kept:
        return layer
    parts.append(chars[kept:])
    new_starts.extend(starts[kept:])
    new_ends.extend(ends[kept:])
    return Layer("".join(parts), new_starts, new_ends, has_gaps)


def _unescaped(chars: str, at: int, escape: str) -> tuple[str, int]:
    """The character of an escape and the escape's length; ``("", 0)`` if it is not an escape."""
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
    """The character of an HTML entity, with or without semicolon, and the entity's length."""
    end = word.find(";") + 1
    if not end:
        form = _BARE_ENTITY.match(word)
        end = form.end() if form else 0
    char = html.unescape(word[:end]) if end else ""
    return (char, end) if len(char) == 1 and end > 1 else ("", 0)


def _from_base64(word: str) -> Iterator[tuple[int, bytes]]:
    """The possible contents of a word, with base64 beginning at each of four offsets."""
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
    """Bytes as text, and the encoding. UTF-16 leaves NULs between digits, which are ignored."""
    try:
        return content.decode(), "utf-8"
    except UnicodeDecodeError:
        return content.decode("ascii", "replace"), "ascii"
