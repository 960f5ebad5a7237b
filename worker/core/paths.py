"""Paths of fields in JSON documents: ``a.b``, ``a[0].b``, ``a[isCurrent=true].b``.

Paths are case-sensitive. A literal name takes precedence over its parts: if an object has a field
``@odata.nextLink``, the path of this name is that field.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from worker.core.value import Value
from worker.errors import ContractError

DEPTH_MAX: Final = 32
"""Maximum depth of objects and arrays in an answer."""
PATH_MAX: Final = 300
"""Maximum length of a path."""
UNNAMED: Final = "?"
"""Replaces a field name that must not be shown."""

_SEGMENT: Final = re.compile(r"([^\[\]\s]+?)(?:\[(?:(0|[1-9]\d{0,3})|([^\[\]=\s]+)=([^\[\]]+))\])?")
_SAFE_PATH: Final = re.compile(r"(?:[\w@$.:-]|\[\])+", re.ASCII)
_DIGIT: Final = re.compile(r"[0-9]")
_DIGITS_MAX: Final = 4
_INDEX: Final = re.compile(r"\[\d+\]", re.ASCII)
_BOOLEANS: Final = {"true": True, "false": False}
_CONTAINERS: Final = (dict, list)
_WHOLE_NUMBER: Final = re.compile(r"-?\d{1,18}", re.ASCII)


class ValueSelector(NamedTuple):
    """Selects an element of an array by the value of one of its fields. Exactly one must match."""

    name: str
    value: str | int | bool


class Segment(NamedTuple):
    """A part of a path between dots: its text, the field's name, and the selected element."""

    text: str
    name: str
    selector: int | ValueSelector | None


class FieldPath(Value, frozen=True):
    """A parsed path.

    Attributes:
        text: the path as written.
        literal_names: for each segment, the field names that can begin there, longest first. Each
            is paired with the index of the segment after the name. For ``a.b``, these are
            ``("a.b", 2)`` and ``("a", 1)`` at segment 0, and ``("b", 2)`` at segment 1.
    """

    text: str
    segments: tuple[Segment, ...]
    literal_names: tuple[tuple[tuple[str, int], ...], ...]

    @property
    def selects_by_value(self) -> bool:
        """Whether an element is selected by a value, so its position differs between answers."""
        return any(isinstance(segment.selector, ValueSelector) for segment in self.segments)

    @property
    def fields(self) -> tuple[str, ...]:
        """The general path, and the paths of the fields that select elements."""
        paths, prefix = [self.general], ""
        for segment in self.segments:
            prefix += segment.name if segment.selector is None else f"{segment.name}[]"
            if isinstance(segment.selector, ValueSelector):
                paths.append(f"{prefix}.{segment.selector.name}")
            prefix += "."
        return tuple(paths)

    @property
    def general(self) -> str:
        """The path without array indexes, as in ``drift``."""
        return ".".join(s.name if s.selector is None else f"{s.name}[]" for s in self.segments)


@lru_cache(maxsize=1024)
def parse_path(text: str) -> FieldPath:
    """Parse a path.

    Raises:
        ValueError: the text is not a path.
    """
    # Cut first, so that a huge text is not split.
    parts = _split(text[:PATH_MAX])
    if len(text) > PATH_MAX or len(parts) > DEPTH_MAX:
        raise ValueError(f"a field path has at most {DEPTH_MAX} parts and {PATH_MAX} characters")
    segments = tuple(_segment(part, text) for part in parts)
    return FieldPath(text, segments, _literal_names(segments))


def _segment(part: str, path: str) -> Segment:
    match = _SEGMENT.fullmatch(part)
    if match is None:
        raise ValueError(f"{path!r} is not a field path such as objectScope.type")
    name, index, field, value = match.groups()
    selector: int | ValueSelector | None = None if index is None else int(index)
    if field:
        selector = ValueSelector(field, _selected_value(value))
    return Segment(part, name, selector)


def _literal_names(segments: Sequence[Segment]) -> tuple[tuple[tuple[str, int], ...], ...]:
    return tuple(
        tuple(
            (".".join(segment.text for segment in segments[start:end]), end)
            # Longest first: `a.b` is the field `a.b` before it is the field `b` of `a`.
            for end in range(len(segments), start, -1)
        )
        for start in range(len(segments))
    )


def _split(text: str) -> list[str]:
    """The parts of a path: the text, split at each dot that is not in brackets."""
    return re.split(r"\.(?![^\[\]]*\])", text)


def _selected_value(text: str) -> str | int | bool:
    if _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    return _BOOLEANS.get(text, text)


def find(document: Any, path: FieldPath) -> Any:
    """The value at a path, or None.

    Raises:
        ContractError: the path selects an element of another value than an array, or no element or
            more than one has the selected value.
    """
    # The most frequent case: the whole path is the name of a field.
    if isinstance(document, dict) and path.text in document:
        return document[path.text]
    return _find(document, path)


def _find(value: Any, path: FieldPath) -> Any:
    start = 0  # the segment at which the next name begins
    while start < len(path.segments):
        if not isinstance(value, dict):
            return None
        for name, end in path.literal_names[start]:
            if name in value:
                value, start = value[name], end
                break
        else:
            segment = path.segments[start]
            if segment.selector is None or segment.name not in value:
                return None
            value, start = _element(value[segment.name], segment.selector, path), start + 1
    return value


def _element(array: Any, selector: int | ValueSelector, path: FieldPath) -> Any:
    if array is None:
        return None
    if not isinstance(array, list):
        raise ContractError("not an array", field=path.text)
    if isinstance(selector, int):
        return array[selector] if selector < len(array) else None
    matching = [element for element in array if _matches(element, selector)]
    # The first of several would be a guess, which may differ from one night to the next.
    if len(matching) != 1:
        raise ContractError(
            f"{len(matching)} of {len(array)} elements match, not exactly one", field=path.text
        )
    return matching[0]


def _matches(element: Any, selector: ValueSelector) -> bool:
    return isinstance(element, dict) and is_same(element.get(selector.name), selector.value)


def is_same(value: Any, expected: Any) -> bool:
    """Whether two JSON values are equal. True is not 1, as it is in Python."""
    return type(value) is type(expected) and bool(value == expected)


def leaves(
    document: Any, *, skip: Any = None, has_indexes: bool = True
) -> Iterator[tuple[str, Any]]:
    """Each leaf of a document with its path: scalars, and empty objects and arrays.

    A value with a path of more than ``PATH_MAX`` characters is one leaf with the path ``?``.

    Args:
        skip: an array or object to skip.
        has_indexes: whether paths contain array indexes (``a[0]``), or only ``a[]``.

    Raises:
        ContractError: the document is nested too deeply.
    """
    if document and isinstance(document, _CONTAINERS):
        return _leaves(document, None, skip, DEPTH_MAX - 1, has_indexes=has_indexes)
    return iter([("", document)])


def _leaves(
    value: Any, path: str | None, skip: Any, depth: int, *, has_indexes: bool
) -> Iterator[tuple[str, Any]]:
    if not depth:
        raise ContractError("nested too deeply", field="$")
    children: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        prefix, children = "" if path is None else f"{path}.", value.items()
    elif has_indexes:
        prefix, children = path or "", ((f"[{index}]", item) for index, item in enumerate(value))
    else:
        prefix, children = path or "", (("[]", item) for item in value)
    for name, item in children:
        inner = prefix + name
        if skip is not None and item is skip:
            continue
        # An object this deep can contain thousands of leaves, and each would repeat the long path.
        if len(inner) > PATH_MAX:
            yield UNNAMED, item
        elif item and isinstance(item, _CONTAINERS):
            yield from _leaves(item, inner, skip, depth - 1, has_indexes=has_indexes)
        else:
            yield inner, item


def without_indexes(path: str) -> str:
    """A path with ``[]`` in place of each array index."""
    return _INDEX.sub("[]", path)


@lru_cache(maxsize=1024)
def safe_path(path: str) -> str:
    """A path for messages and the ledger, without array indexes, or ``?``.

    PTS could use a person's identifier as the name of a field. So ``?`` replaces a path with more
    than four digits, with characters other than ASCII letters and ``_@$.:-``, or of more than
    ``PATH_MAX`` characters.
    """
    general = without_indexes(path)
    if len(general) > PATH_MAX or not _SAFE_PATH.fullmatch(general):
        return UNNAMED
    return UNNAMED if len(_DIGIT.findall(general)) > _DIGITS_MAX else general
