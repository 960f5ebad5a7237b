"""Finds national identifiers in text and documents, whatever their spelling, and replaces them.

Looked for are eleven digits after percent-encoding, HTML entities and escapes are decoded, Unicode
is folded (NFKC, digits of every script) and all that is neither letter nor digit is passed over;
also in base64 and in hexadecimal. The person who was asked for is found by their own digits
wherever these stand. Anybody else is found by structure (day and month of each known kind of
number) and control digits, and only where the eleven digits begin and end as numbers of their own.

All work is linear in the length of the text. Most of what PTS sends (codes, times, UUIDs) is passed
by one search; only what might hold eleven digits, in whichever coat, is looked at closely.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from worker.core import exact_json
from worker.core.exact_json import LargeInteger
from worker.core.offid import LENGTH, checksum_ok, has_structure

_ROUNDS_MAX: Final = 4
"""Encodings within encodings that are undone."""
_ENTITY_MAX: Final = 12
_BASE64_MIN: Final = 15
"""Characters of base64 that eleven bytes take."""
_HEX_MIN: Final = 2 * LENGTH

_ENCODED: Final = re.compile(r"[%&\\=<]")
_SIGNS: Final = ("", "=", "<")
_TAG_MAX: Final = 40
_BARE_ENTITY: Final = re.compile(r"&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})")
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/_\-]{{{_BASE64_MIN},}}")
_HEX: Final = re.compile(rf"[0-9A-Fa-f]{{{_HEX_MIN},}}")
_NOT_IDENTIFIERS: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+\-]\d\d:?\d\d)?"
    r"|(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9A-Za-z])"
)
"""Times, UUIDs, and digests such as pseudonyms: their digits are not somebody's."""
_SUSPECT: Final = re.compile(
    rf"[^\x00-\x7f]|[%&\\=<]|(?:[0-9][^0-9A-Za-z]*+){{{LENGTH}}}|[A-Za-z0-9+/_\-]{{{_BASE64_MIN}}}"
)
"""What a text has that holds an identifier in any spelling. Many other texts have it, too."""
_SEPARATORS: Final = dict.fromkeys(map(ord, "-:.,+ "))
_NO_DIGITS: Final = bytes(byte for byte in range(256) if not 0x30 <= byte <= 0x39)  # noqa: PLR2004
_ASCII_ESCAPES: Final = {"x": 2, "u": 4, "U": 8}


_ELEVEN: Final = re.compile(rf"(?=([0-9]{{{LENGTH}}}))")


def candidates(value: Any) -> Iterator[str]:
    """Whatever eleven digits of a document may be the own identifier of the person it is about.

    For who has the person's key alone, and can tell which of these digits give it.
    """
    match value:
        case str():
            yield from _candidates(value, _ROUNDS_MAX)
        case dict():
            for name, inner in value.items():
                if not _is_harmless(name):
                    yield from _candidates(name, _ROUNDS_MAX)
                yield from candidates(inner)
        case list():
            for element in value:
                yield from candidates(element)
        case bool() | None:
            return
        case int() | float() | LargeInteger():
            yield from candidates(exact_json.dumps(value).decode().removesuffix(".0"))
        case _:
            return


def _holds_text(text: str) -> bool:
    """Whether what looks like a digest or a UUID is the hexadecimal of a text with eleven digits.

    Of random ones that is fewer than one in ten million.
    """
    try:
        content = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return False
    return len(content.translate(None, _NO_DIGITS)) >= LENGTH


def _candidates(text: str, rounds: int) -> Iterator[str]:
    if len(text) < LENGTH:
        if text.isascii() and text.isdigit():
            yield text.zfill(LENGTH)
        return
    if not _SUSPECT.search(text):
        return
    if _NOT_IDENTIFIERS.fullmatch(text):
        yield from (match[1] for match in _ELEVEN.finditer(text.translate(_SEPARATORS)))
        if not _holds_text(text):
            return
        text = text.replace("-", "")
    for layer in _layers(text):
        digits = "".join(cell.char for cell in layer if cell.char.isalnum())
        yield from (match[1] for match in _ELEVEN.finditer(digits))
    if rounds:
        for content in _contents(text):
            yield from _candidates(content.text, rounds - 1)


class Found(NamedTuple):
    """An identifier in a text: its place, end exclusive, and its digits."""

    start: int
    end: int
    digits: str

    def __repr__(self) -> str:
        return f"Found({self.start}, {self.end}, ***)"


class _Cell(NamedTuple):
    """A character as decoded, and the part of the text that it stands for."""

    char: str
    start: int
    end: int


class Recogniser:
    """Finds and replaces identifiers.

    Args:
        pseudonym_of: what stands in the place of eleven digits; letters and digits.
        own: the digits of the person who was asked for, found wherever they stand.
        finds_others: anybody else's are found as well.
    """

    def __init__(
        self, pseudonym_of: Callable[[str], str], own: str = "", *, finds_others: bool = True
    ) -> None:
        self._finds_others = finds_others
        self._pseudonym_of = pseudonym_of
        self._own = own
        self._short = own.lstrip("0") or own

    def text(self, text: str) -> str:
        """The text without identifiers; the same object if there is none."""
        if len(text) < LENGTH:
            is_short = bool(text) and text == self._short
            return self._pseudonym_of(self._own) if is_short else text
        if text == self._own:
            return self._pseudonym_of(text)
        if not _SUSPECT.search(text):
            return text
        if _NOT_IDENTIFIERS.fullmatch(text):
            if _holds_text(text):
                text = text.replace("-", "")
            elif not self._own or self._own not in text.translate(_SEPARATORS):
                return text
        elif text == self._short:
            return self._pseudonym_of(self._own)
        found = self.find(text)
        if not found:
            return text
        parts: list[str] = []
        end = 0
        for place in found:
            parts += text[end : place.start], self._pseudonym_of(place.digits)
            end = place.end
        return "".join((*parts, text[end:]))

    def document(self, value: Any) -> Any:
        """A JSON document without identifiers, in values and in field names at any depth."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return self._object(value)
            case list():
                return [self.document(element) for element in value]
            case bool() | None:
                return value
            case int() | float() | LargeInteger():
                return self._number(value)
            case _:
                return value

    def find(self, text: str) -> list[Found]:
        """Every identifier in a text, in order and without overlap."""
        return self._find(text, _ROUNDS_MAX)

    def _find(self, text: str, rounds: int) -> list[Found]:
        if len(text) < LENGTH:
            return []
        found = list(self._plain(text))
        if rounds and len(text) >= _BASE64_MIN:
            found += self._packed(text, rounds - 1)
        return _without_overlap(found, self._own)

    def _object(self, fields: dict[str, Any]) -> dict[str, Any]:
        names = [name if _is_harmless(name) else self.text(name) for name in fields]
        if len(set(names)) == len(names):
            return {
                name: self.document(value)
                for name, value in zip(names, fields.values(), strict=True)
            }
        result: dict[str, Any] = {}
        for name, value in sorted(fields.items()):  # in whichever order they were received
            replaced = self.text(name)
            while replaced in result:  # two spellings of one identifier: keep both fields
                replaced += "_"
            result[replaced] = self.document(value)
        return result

    def _number(self, number: float | LargeInteger) -> float | LargeInteger | str:
        text = str(number) if isinstance(number, int) else exact_json.dumps(number).decode()
        digits = text.removesuffix(".0")
        replaced = self.text(digits)
        return number if replaced == digits else replaced

    def _plain(self, text: str) -> Iterator[Found]:
        """Identifiers whose digits stand in the text, in whichever spelling and grouping."""
        foreign = [match.span() for match in _NOT_IDENTIFIERS.finditer(text)]
        for layer in _layers(text):
            cells = [cell for cell in layer if cell.char.isalnum()]
            if len(cells) >= LENGTH:
                yield from self._own_digits(cells)
                if self._finds_others:
                    yield from _others(list(_numbers(cells, foreign)))

    def _own_digits(self, cells: list[_Cell]) -> Iterator[Found]:
        if not self._own:
            return
        letters = "".join(cell.char for cell in cells)
        at = letters.find(self._own)
        while at >= 0:
            last = at + LENGTH - 1
            yield Found(cells[at].start, cells[last].end, self._own)
            at = letters.find(self._own, last + 1)

    def _packed(self, text: str, rounds: int) -> Iterator[Found]:
        """Identifiers inside base64 and hexadecimal, in the place of the characters that hold them.

        The rest of a word stays, so that two keys with one prefix in front do not become one.
        """
        read: tuple[int, int] | None = None
        for content in _contents(text):
            if content.word == read:
                continue  # another way to read a word in which somebody was found
            for inner in self._find(content.text, rounds):
                read = content.word
                yield Found(*content.place(inner), inner.digits)


@lru_cache(maxsize=4096)
def _is_harmless(name: str, rounds: int = _ROUNDS_MAX) -> bool:
    """Whether nobody's identifier can stand in a field name, which occurs again and again."""
    if len(name) < LENGTH or not _SUSPECT.search(name):
        return len(name) >= LENGTH or not name.isdigit()
    digits = [sum(cell.char.isdigit() for cell in layer) for layer in _layers(name)]
    if max(digits) >= LENGTH:
        return False
    return not rounds or all(_is_harmless(content.text, rounds - 1) for content in _contents(name))


class _Content(NamedTuple):
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

    def place(self, inner: Found) -> tuple[int, int]:
        """Where in the outer text the characters stand that hold a part of the content."""
        chars, size = self.packing
        before, after = (
            len(self.text[:at].encode(self.encoding, "replace")) for at in (inner.start, inner.end)
        )
        end = self.start - (-after // size) * chars
        return self.start + before // size * chars, min(end, self.word[1])


def _contents(text: str) -> Iterator[_Content]:
    """What words of base64 and hexadecimal hold, if that may hold an identifier."""
    for pattern, unpack, packing in ((_BASE64, _from_base64, (4, 3)), (_HEX, _from_hex, (2, 1))):
        for word in pattern.finditer(text):
            for start, content in unpack(word[0]):
                inner, encoding = _decoded(content)
                if len(content.translate(None, _NO_DIGITS)) >= LENGTH or _BASE64.search(inner):
                    yield _Content(inner, encoding, word.span(), word.start() + start, packing)


def _without_overlap(found: list[Found], own: str) -> list[Found]:
    """In order; who was asked for goes before others, whose digits may begin in what precedes."""
    kept: list[Found] = []
    for place in sorted(found, key=lambda place: (place.start, -place.end)):
        if not kept or place.start >= kept[-1].end:
            kept.append(place)
        elif place.digits == own != kept[-1].digits:
            kept[-1] = place
    return kept


def _others(numbers: list["_Number"]) -> Iterator[Found]:
    """Runs of digits that make an identifier together, from the beginning of one to an end."""
    for first, begin in enumerate(numbers):
        digits = begin.digits
        end = begin.end
        for number in numbers[first + 1 : first + LENGTH]:
            if len(digits) >= LENGTH or not number.is_joined:
                break
            digits += number.digits
            end = number.end
        if len(digits) == LENGTH and has_structure(digits) and checksum_ok(digits):
            yield Found(begin.start, end, digits)


def _layers(text: str) -> Iterator[list[_Cell]]:
    """The characters of a text, folded: as they stand, and with each layer of encoding undone."""
    cells = [_Cell(char, at, at + 1) for at, char in enumerate(text)]
    yield _folded_cells(cells)
    if not _ENCODED.search(text):
        return
    for signs in _SIGNS:
        if signs and signs not in text:
            continue
        layer = cells
        for _ in range(_ROUNDS_MAX):
            decoded = list(_decode(layer, signs))
            if len(decoded) == len(layer):
                break
            layer = decoded
            yield _folded_cells(layer)


def _folded_cells(cells: list[_Cell]) -> list[_Cell]:
    if all(cell.char.isascii() for cell in cells):
        return cells
    return [_Cell(char, cell.start, cell.end) for cell in cells for char in _folded(cell.char)]


def _folded(char: str) -> str:
    """A character by NFKC, digits of every script as ASCII."""
    if char.isascii():
        return char
    return "".join(
        one if (digit := unicodedata.digit(one, None)) is None else str(digit)
        for one in unicodedata.normalize("NFKC", char)
    )


def _decode(cells: list[_Cell], signs: str) -> Iterator[_Cell]:
    """One layer of percent-encoding, entities and escapes undone.

    ``=`` and ``<`` are read as quoted-printable and markup only if ``signs`` names them: in
    ``?id=12…`` and ``<12…>`` they would take digits away.
    """
    chars = "".join([cell.char for cell in cells])
    at = 0
    while at < len(cells):
        char, taken = chars[at], 1
        if char == "%" or (char == "=" and signs == "="):
            code = _hexadecimal(chars, at + 1, 2)
            if code is not None:
                char, taken = chr(code), 3
        elif char == "&":
            char, taken = _entity(chars, at)
        elif char == "<" and signs == "<":
            end = chars.find(">", at, at + _TAG_MAX)
            if end >= 0:
                at = end + 1
                continue
        elif char == "\\" and at + 1 < len(cells):
            length = _ASCII_ESCAPES.get(chars[at + 1], 0)
            code = _hexadecimal(chars, at + 2, length) if length else None
            if code is not None and code < 0x110000:  # noqa: PLR2004
                char, taken = chr(code), 2 + length
        yield _Cell(char, cells[at].start, cells[at + taken - 1].end)
        at += taken


def _hexadecimal(chars: str, at: int, length: int) -> int | None:
    word = chars[at : at + length]
    if len(word) != length or not word.isascii() or not word.isalnum():
        return None
    try:
        return int(word, 16)
    except ValueError:
        return None


def _entity(chars: str, at: int) -> tuple[str, int]:
    """The character of an HTML entity and the cells that it takes, with or without semicolon."""
    word = chars[at : at + _ENTITY_MAX]
    end = word.find(";") + 1
    if not end:
        form = _BARE_ENTITY.match(word)
        end = form.end() if form else 0
    char = html.unescape(word[:end]) if end else ""
    return (char, end) if len(char) == 1 else ("&", 1)


class _Number(NamedTuple):
    """A run of digits: its place, and whether only separators stand before it."""

    start: int
    end: int
    digits: str
    is_joined: bool


def _numbers(cells: list[_Cell], foreign: list[tuple[int, int]]) -> Iterator[_Number]:
    """The runs of adjacent digits among letters and digits, but for those of foreign places."""
    at = 0
    run: list[_Cell] = []
    is_joined = may_join = False
    for cell in cells:
        while at < len(foreign) and foreign[at][1] <= cell.start:
            at += 1
        is_foreign = at < len(foreign) and foreign[at][0] <= cell.start
        is_digit = cell.char.isascii() and cell.char.isdigit() and not is_foreign
        if run and not (is_digit and cell.start == run[-1].end):
            yield _of(run, is_joined=is_joined)
            run, may_join = [], True
        if is_digit:
            is_joined = is_joined if run else may_join
            run.append(cell)
        else:
            may_join = False
    if run:
        yield _of(run, is_joined=is_joined)


def _of(run: list[_Cell], *, is_joined: bool) -> _Number:
    return _Number(run[0].start, run[-1].end, "".join(cell.char for cell in run), is_joined)


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
