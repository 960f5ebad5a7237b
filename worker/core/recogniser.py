"""Finds national identifiers in text and documents, whatever their spelling, and replaces them.

Looked for are eleven digits after percent-encoding, HTML entities and escapes are decoded, Unicode
is folded (NFKC, digits of every script) and all that is neither letter nor digit is passed over;
also in base64 and in hexadecimal (``worker.core.encodings``). The person who was asked for is found
by their own digits wherever these stand. Anybody else is found by structure (day and month of each
known kind of number) and control digits, and only where the eleven digits begin and end as numbers
of their own.

All work is linear in the length of the text. Most of what PTS sends is passed at a glance
(``worker.core.harmless``); only what might hold eleven digits is looked at closely.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from worker.core import exact_json
from worker.core.encodings import BASE64_MIN, ROUNDS_MAX, Layer, contents, layers
from worker.core.exact_json import LargeInteger
from worker.core.harmless import (
    NOT_IDENTIFIERS,
    harmless_names,
    holds_text,
    may_hold_digits,
    remembered_suspects,
    shapes,
    without_separators,
)
from worker.core.offid import LENGTH, checksum_ok, has_structure

_ELEVEN: Final = re.compile(rf"(?=([0-9]{{{LENGTH}}}))")
_DIGIT: Final = re.compile(r"[0-9]")
_NEITHER: Final = bytes(byte for byte in range(128) if not chr(byte).isalnum())
_NUMBERS: Final = re.compile(
    rf"[0-9](?<![0-9][0-9])(?=((?:[\W_]*+[0-9]){{{LENGTH - 1}}})(?![0-9]))"
)
"""Where a run of digits begins that makes eleven, up to the end of it or of a later run, with only
separators between. Every gap is passed ten times at most."""

Author: TypeAlias = Callable[[Any, str], Any]
"""What is kept of the value of a field, by the field's name, that says who did something."""


class Found(NamedTuple):
    """An identifier in a text: its place, end exclusive, and its digits."""

    start: int
    end: int
    digits: str

    def __repr__(self) -> str:
        return f"Found({self.start}, {self.end}, ***)"


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
        self._own_bytes = own.encode()
        self._short = own.lstrip("0") or own

    def text(self, text: str) -> str:
        """The text without identifiers; the same object if there is none."""
        if len(text) < LENGTH:
            is_short = bool(text) and text == self._short
            return self._pseudonym_of(self._own) if is_short else text
        if text == self._own:
            return self._pseudonym_of(text)
        if not NOT_IDENTIFIERS.fullmatch(text):
            if not remembered_suspects[text]:
                return text
        elif holds_text(text):
            text = text.replace("-", "")
        elif not (self._own and without_separators(text).count(self._own_bytes)):
            return text
        found = self.find(text)
        if not found:
            return text
        parts: list[str] = []
        end = 0
        for place in found:
            parts += text[end : place.start], self._pseudonym_of(place.digits)
            end = place.end
        return "".join((*parts, text[end:]))

    def document(self, value: Any, author: Author | None = None) -> Any:
        """A JSON document without identifiers, in values and in field names at any depth.

        Args:
            value: the document.
            author: what is kept of those who did something, once identifiers are replaced; all if
                None.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._object(value, author)
        if isinstance(value, list):
            return [self.document(element, author) for element in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float, LargeInteger)):
            return self._number(value)
        return value

    def find(self, text: str) -> list[Found]:
        """Every identifier in a text, in order and without overlap."""
        return self._find(text, ROUNDS_MAX)

    def _object(self, fields: dict[str, Any], author: Author | None) -> dict[str, Any]:
        shape = shapes[tuple(fields)]
        if not shape.is_harmless:
            fields = self._renamed(fields)
            shape = shapes[tuple(fields)]
        authors = () if author is None else shape.authors
        result = fields.copy()
        for name, value in fields.items():
            kind = value.__class__
            if kind is str:
                if len(value) >= LENGTH or value == self._short:
                    result[name] = self.text(value)
            elif kind is dict:
                result[name] = self._object(value, None if name in authors else author)
            elif value is not None:
                result[name] = self.document(value, None if name in authors else author)
        if author is not None:
            for name in authors:
                result[name] = author(result[name], name)
        return result

    def _renamed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The same values under names without identifiers."""
        names = [name if harmless_names[name] else self.text(name) for name in fields]
        if len(set(names)) == len(names):
            return dict(zip(names, fields.values(), strict=True))
        result: dict[str, Any] = {}
        for name, value in sorted(fields.items()):  # in whichever order they were received
            replaced = self.text(name)
            while replaced in result:  # two spellings of one identifier: keep both fields
                replaced += "_"
            result[replaced] = value
        return result

    def _number(self, number: float | LargeInteger) -> float | LargeInteger | str:
        text = str(number) if isinstance(number, int) else exact_json.dumps(number).decode()
        digits = text.removesuffix(".0")
        replaced = self.text(digits)
        return number if replaced == digits else replaced

    def _find(self, text: str, rounds: int) -> list[Found]:
        if len(text) < LENGTH:
            return []
        found = list(self._plain(text))
        if rounds and len(text) >= BASE64_MIN:
            found += self._packed(text, rounds - 1)
        return _without_overlap(found, self._own)

    def _plain(self, text: str) -> Iterator[Found]:
        """Identifiers whose digits stand in the text, in whichever spelling and grouping."""
        foreign = [match.span() for match in NOT_IDENTIFIERS.finditer(text)]
        for layer in layers(text):
            if self._own:
                yield from _digits_within(layer, self._own)
            if self._finds_others:
                yield from _others(layer, foreign)

    def _packed(self, text: str, rounds: int) -> Iterator[Found]:
        """Identifiers inside base64 and hexadecimal, in the place of the characters that hold them.

        The rest of a word stays, so that two keys with one prefix in front do not become one.
        """
        read: tuple[int, int] | None = None
        for content in contents(text):
            if content.word == read or not may_hold_digits(content.text):
                continue  # or: another way to read a word in which somebody was found
            found = self._find(content.text, rounds)
            if found:
                read = content.word
            places = content.places((inner.start, inner.end) for inner in found)
            for inner, place in zip(found, places, strict=True):
                yield Found(*place, inner.digits)


def candidates(value: Any) -> Iterator[str]:
    """Whatever eleven digits of a document may be the own identifier of the person it is about.

    For who has the person's key alone, and can tell which of these digits give it.
    """
    match value:
        case str():
            yield from _candidates(value, ROUNDS_MAX)
        case dict():
            for name, inner in value.items():
                if not harmless_names[name]:
                    yield from _candidates(name, ROUNDS_MAX)
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


def _candidates(text: str, rounds: int) -> Iterator[str]:
    if len(text) < LENGTH:
        if text.isascii() and text.isdigit():
            yield text.zfill(LENGTH)
        return
    if not may_hold_digits(text):
        return
    if NOT_IDENTIFIERS.fullmatch(text):
        yield from (match[1] for match in _ELEVEN.finditer(without_separators(text).decode()))
        if not holds_text(text):
            return
        text = text.replace("-", "")
    for layer in layers(text):
        yield from (match[1] for match in _ELEVEN.finditer(_squeezed(layer.chars)))
    if rounds:
        for content in contents(text):
            yield from _candidates(content.text, rounds - 1)


def _squeezed(chars: str) -> str:
    """The letters and digits alone."""
    if chars.isascii():
        return chars.encode().translate(None, _NEITHER).decode()
    return "".join(filter(str.isalnum, chars))


def _digits_within(layer: Layer, digits: str) -> Iterator[Found]:
    """Where given digits stand among the letters and digits of a layer."""
    ascii_alone = layer.chars.encode("ascii", "ignore").translate(None, _NEITHER)
    if digits.encode() not in ascii_alone:
        return
    squeezed = _squeezed(layer.chars)
    at = squeezed.find(digits)
    places = [place for place, char in enumerate(layer.chars) if char.isalnum()]
    while at >= 0:
        last = places[at + len(digits) - 1]
        yield Found(layer.starts[places[at]], layer.ends[last], digits)
        at = squeezed.find(digits, at + len(digits))


def _others(layer: Layer, foreign: list[tuple[int, int]]) -> Iterator[Found]:
    """Runs of digits that make an identifier together, from the beginning of one to an end.

    Args:
        layer: where to look.
        foreign: places of the text whose digits are nobody's.
    """
    chars = _without_digits_at(foreign, layer)
    for match in _NUMBERS.finditer(chars):
        digits = _squeezed(match[0] + match[1])
        if has_structure(digits) and checksum_ok(digits):
            yield Found(layer.starts[match.start()], layer.ends[match.end(1) - 1], digits)


def _without_digits_at(places: list[tuple[int, int]], layer: Layer) -> str:
    """The characters of a layer with a letter for each digit at some places of the text."""
    chars = layer.chars
    parts: list[str] = []
    kept = 0
    for start, end in places:
        first, last = bisect_left(layer.starts, start), bisect_left(layer.starts, end)
        parts += chars[kept:first], _DIGIT.sub("x", chars[first:last])
        kept = last
    return "".join((*parts, chars[kept:])) if parts else chars


def _without_overlap(found: list[Found], own: str) -> list[Found]:
    """In order; who was asked for goes before others, whose digits may begin in what precedes."""
    kept: list[Found] = []
    for place in sorted(found, key=lambda place: (place.start, -place.end)):
        if not kept or place.start >= kept[-1].end:
            kept.append(place)
        elif place.digits == own != kept[-1].digits:
            kept[-1] = place
    return kept
