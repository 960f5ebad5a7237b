"""Finds national identifiers in texts and documents, in any encoding, and replaces them.

The search decodes percent-encoding, HTML entities and escapes, folds Unicode (NFKC, digits of every
script), ignores everything but letters and digits, and also decodes base64 and hexadecimal
(``worker.core.encodings``). The requested person's own digits are found anywhere. Identifiers of
other persons are found by structure (day and month of each known kind) and control digits, and only
if no digit precedes or follows the eleven digits.

All work is linear in the length of the text. Fast checks (``worker.core.harmless``) skip texts
without eleven digits.
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
"""Eleven digits in one or more groups with only separators between, not preceded or followed by a
digit. Every separator is scanned at most ten times."""
_CENTURY: Final = re.compile(r"(?:19|20)(?=[0-9]{2}(?:[\W_]*+[0-9]){5})")
"""What each of the next has: a quick look."""
_BIRTH_DATES: Final = re.compile(
    r"[0-9](?<![0-9][0-9])(?:"
    r"([0-9]?)[\W_]*+([0-9]{1,2})[\W_]*+(?:19|20)([0-9]{2})"
    r"|(?:(?<=1)9|(?<=2)0)([0-9]{2})[\W_]*+([0-9]{1,2})[\W_]*+([0-9]{1,2})"
    r")[\W_]*+([0-9]{3})[\W_]*+([0-9]{2})(?![0-9])"
)
"""A date with its century, by its day or its year first, and five digits: how people write a
birth date and the rest of an identifier."""

Author: TypeAlias = Callable[[Any, str], Any]
"""Cleans the value of an author field, given the value and the field's name."""


class IdentifierMatch(NamedTuple):
    """An identifier in a text: its position, end exclusive, and its digits.

    Attributes:
        beside: what else the characters hold, and is kept beside the replacement.
    """

    start: int
    end: int
    digits: str
    beside: str = ""

    def __repr__(self) -> str:
        return f"IdentifierMatch({self.start}, {self.end}, ***)"


class Recogniser:
    """Finds and replaces identifiers.

    Args:
        pseudonym_of: maps eleven digits to their replacement, of letters and digits.
        own: the digits of the requested person, found anywhere.
        finds_others: also find identifiers of other persons.
    """

    def __init__(
        self, pseudonym_of: Callable[[str], str], own: str = "", *, finds_others: bool = True
    ) -> None:
        self._finds_others = finds_others
        self._pseudonym_of = pseudonym_of
        self._own = own
        self._own_bytes = own.encode()
        self._short = own.lstrip("0") or own
        self._has_short = self._short != own

    def text(self, text: str) -> str:
        """Replace identifiers in a text; return the same object if there are none."""
        if len(text) < LENGTH:
            is_short = bool(text) and text == self._short
            return self._pseudonym_of(self._own) if is_short else text
        if text == self._own:
            return self._pseudonym_of(text)
        searched = text
        if not NOT_IDENTIFIERS.fullmatch(text):
            if not remembered_suspects[text] and not (self._has_short and self._short in text):
                return text
        elif holds_text(text):
            searched = text.replace("-", "")
        elif not (self._own and without_separators(text).count(self._own_bytes)):
            return text
        matches = self.find(searched)
        if not matches:
            return text
        parts: list[str] = []
        end = 0
        for match in matches:
            parts += searched[end : match.start], self._pseudonym_of(match.digits), match.beside
            end = match.end
        return "".join((*parts, searched[end:]))

    def document(self, value: Any, author: Author | None = None) -> Any:
        """Replace identifiers in the values and field names of a JSON document.

        Args:
            author: cleans author fields after identifiers are replaced; None keeps them.
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

    def find(self, text: str) -> list[IdentifierMatch]:
        """All identifiers in a text, in order and without overlap."""
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
        """The same values, with identifiers in field names replaced."""
        names = [name if harmless_names[name] else self.text(name) for name in fields]
        if len(set(names)) == len(names):
            return dict(zip(names, fields.values(), strict=True))
        result: dict[str, Any] = {}
        for name, value in sorted(fields.items()):  # independent of the received order
            replaced = self.text(name)
            while replaced in result:  # one identifier in two encodings: keep both fields
                replaced += "_"
            result[replaced] = value
        return result

    def _number(self, number: float | LargeInteger) -> float | LargeInteger | str:
        text = str(number) if isinstance(number, int) else exact_json.dumps(number).decode()
        digits = text.removesuffix(".0")
        replaced = self.text(digits)
        return number if replaced == digits else replaced

    def _find(self, text: str, rounds: int) -> list[IdentifierMatch]:
        if len(text) < LENGTH:
            return []
        matches = list(self._plain(text))
        if rounds and len(text) >= BASE64_MIN:
            matches += self._packed(text, rounds - 1)
        return _without_overlap(matches, self._own)

    def _plain(self, text: str) -> Iterator[IdentifierMatch]:
        """Identifiers in the text itself, in any escape encoding and grouping."""
        foreign = [match.span() for match in NOT_IDENTIFIERS.finditer(text)]
        for layer in layers(text):
            if self._own:
                yield from _digits_within(layer, self._own)
            if self._has_short:
                for match in _digits_within(layer, self._short, is_number=True):
                    yield match._replace(digits=self._own)
            chars = _without_digits_at(foreign, layer)
            if self._finds_others:
                yield from _other_identifiers(layer, chars)
            if _CENTURY.search(chars):
                yield from self._behind_birth_dates(layer, chars)

    def _behind_birth_dates(self, layer: Layer, chars: str) -> Iterator[IdentifierMatch]:
        """Identifiers whose first six digits are written as a date with its century."""
        for match in _BIRTH_DATES.finditer(chars):
            for digits in _with_birth_date(match):
                if digits == self._own or (self._finds_others and _is_identifier(digits)):
                    start, end = layer.starts[match.start()], layer.ends[match.end() - 1]
                    yield IdentifierMatch(start, end, digits)

    def _packed(self, text: str, rounds: int) -> Iterator[IdentifierMatch]:
        """Identifiers inside base64 and hexadecimal, at the position of the encoded characters.

        The rest of a word stays, so that two keys with a common prefix remain distinct.
        """
        for content in contents(text):
            if may_hold_digits(content.text) or (self._has_short and self._short in content.text):
                matches = self._find(content.text, rounds)
                places = content.places((inner.start, inner.end) for inner in matches)
                for inner, place in zip(matches, places, strict=True):
                    beside = inner.beside + place.beside
                    yield IdentifierMatch(place.start, place.end, inner.digits, beside)


def _squeezed(chars: str) -> str:
    """The letters and digits of a text."""
    if chars.isascii():
        return chars.encode().translate(None, _NEITHER).decode()
    return "".join(filter(str.isalnum, chars))


def _digits_within(
    layer: Layer, digits: str, *, is_number: bool = False
) -> Iterator[IdentifierMatch]:
    """Occurrences of these digits among the letters and digits of a layer.

    Args:
        is_number: only where no digit precedes or follows.
    """
    ascii_alone = layer.chars.encode("ascii", "ignore").translate(None, _NEITHER)
    if digits.encode() not in ascii_alone:
        return
    squeezed = _squeezed(layer.chars)
    at = squeezed.find(digits)
    places = [place for place, char in enumerate(layer.chars) if char.isalnum()]
    while at >= 0:
        end = at + len(digits)
        first, last = places[at], places[end - 1]
        around = layer.chars[max(0, first - 1) : first] + layer.chars[last + 1 : last + 2]
        if not (is_number and any(map(str.isdigit, around))):
            yield IdentifierMatch(layer.starts[first], layer.ends[last], digits)
        at = squeezed.find(digits, end)


def _other_identifiers(layer: Layer, chars: str) -> Iterator[IdentifierMatch]:
    """Groups of digits that together have the structure of an identifier.

    Args:
        chars: its characters, without the digits of UUIDs, times and digests.
    """
    for match in _NUMBERS.finditer(chars):
        digits = _squeezed(match[0] + match[1])
        if _is_identifier(digits):
            yield IdentifierMatch(layer.starts[match.start()], layer.ends[match.end(1) - 1], digits)


def _is_identifier(digits: str) -> bool:
    return has_structure(digits) and checksum_ok(digits)


def _with_birth_date(match: re.Match[str]) -> Iterator[str]:
    """What the identifier may be; that of a D-number begins with the day and 40."""
    day, month, year = match.group(6, 5, 4)
    if match[3]:
        day, month, year = match[0][0] + match[1], match[2], match[3]
    rest = f"{month:0>2}{year}{match[7]}{match[8]}"
    if "01" <= f"{day:0>2}" <= "71":  # no felles hjelpenummer, which has no date
        yield f"{day:0>2}{rest}"
    if int(day) <= 31:  # noqa: PLR2004 - the last day of a month
        yield f"{int(day) + 40}{rest}"


def _without_digits_at(places: list[tuple[int, int]], layer: Layer) -> str:
    """The characters of a layer, with the digits at some positions replaced by a letter."""
    chars = layer.chars
    parts: list[str] = []
    kept = 0
    for start, end in places:
        first, last = bisect_left(layer.starts, start), bisect_left(layer.starts, end)
        parts += chars[kept:first], _DIGIT.sub("x", chars[first:last])
        kept = last
    return "".join((*parts, chars[kept:])) if parts else chars


def _without_overlap(matches: list[IdentifierMatch], own: str) -> list[IdentifierMatch]:
    """Sort the matches; of overlapping ones prefer the requested person's, else the first."""
    kept: list[IdentifierMatch] = []
    for match in sorted(matches, key=lambda match: (match.start, -match.end)):
        if not kept or match.start >= kept[-1].end:
            kept.append(match)
        elif match.digits == own != kept[-1].digits:
            kept[-1] = match
    return kept
