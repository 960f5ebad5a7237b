"""Looks up fields of JSON documents by path, ignoring case.

Examples: ``patientSafetyObject.person.offId``; ``timeRanges[0].from`` selects an element,
``accessRestriction[current]`` the current one (``isCurrent`` is true, else the last).
"""

import enum
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from worker.core.harmless import harmless_names
from worker.errors import ContractError


class Pick(enum.Enum):
    """A way to select an array element other than by index."""

    CURRENT = "current"


class Absent(enum.Enum):
    """Why there is no value at a path."""

    MISSING = enum.auto()
    """There is no such field, or a parent is null."""
    WRONG_TYPE = enum.auto()
    """A parent is not the object or array that the path requires."""


Step: TypeAlias = str | int | Pick
FieldPath: TypeAlias = tuple[Step, ...]

FIELDS_MAX: Final = 1_000
"""Maximum number of fields of an object."""
NAMES_LENGTH_MAX: Final = 5_000
"""Maximum length of all field names of an object together. Names are cached."""

_SEGMENT: Final = re.compile(r"([^.\[\]\s]+)(?:\[(\d{1,4}|current)\])?")
_DIGITS_MAX: Final = 9
_SAFE_NAME: Final = re.compile(r"[A-Za-z_@$](?!.*\d{5})[\w@$.:-]{0,59}", re.ASCII)


@lru_cache(maxsize=1024)
def parse_path(text: str) -> FieldPath:
    """Parse a path into steps, with names in lower case.

    Raises:
        ValueError: the text is not a path.
    """
    steps: list[Step] = []
    for segment in text.split("."):
        form = _SEGMENT.fullmatch(segment)
        if form is None:
            raise ValueError(f"{text!r} is not a field path such as objectScope.type")
        steps.append(form[1].lower())
        if form[2] == Pick.CURRENT.value:
            steps.append(Pick.CURRENT)
        elif form[2] is not None:
            steps.append(int(form[2]))
    return tuple(steps)


@lru_cache(maxsize=512)
def spelling(names: tuple[str, ...]) -> Mapping[str, str]:
    """An object's field names by their lower-case form.

    Raises:
        ContractError: two names differ only in case, or the names exceed ``FIELDS_MAX`` or
            ``NAMES_LENGTH_MAX``.
    """
    if len(names) > FIELDS_MAX or sum(map(len, names)) > NAMES_LENGTH_MAX:
        raise ContractError(f"an object of more than {FIELDS_MAX} fields, or with very long names")
    spelled = {name.lower(): name for name in names}
    if len(spelled) != len(names):
        raise ContractError("two fields of one object differ only in case")
    return spelled


class Place(NamedTuple):
    """A path through a field that an object has: its name as spelled there, the steps below it."""

    name: str
    rest: FieldPath
    text: str


def places_of(texts: Iterable[str], names: tuple[str, ...]) -> tuple[Place, ...]:
    """Of some paths, those whose first field an object with these field names has.

    Another path leads to no value, and to no wrong type.

    Raises:
        ContractError: as ``spelling``.
    """
    spelled = spelling(names)
    paths = ((parse_path(text), text) for text in texts)
    return tuple(
        Place(spelled[str(path[0])], path[1:], text) for path, text in paths if path[0] in spelled
    )


def find(document: Any, path: FieldPath) -> Any:
    """The value at a path, or an ``Absent``."""
    value = document
    for step in path:
        if value is None or value is Absent.MISSING:
            return Absent.MISSING
        if isinstance(step, str):
            if not isinstance(value, dict):
                return Absent.WRONG_TYPE
            name = spelling(tuple(value)).get(step)
            if name is None:
                return Absent.MISSING
            value = value[name]
        elif not isinstance(value, list):
            return Absent.WRONG_TYPE
        else:
            value = element_of(value, step)
    return value


def element_of(array: list[Any], step: int | Pick) -> Any:
    """An element of an array, or ``Absent.MISSING``."""
    if isinstance(step, int):
        return array[step] if step < len(array) else Absent.MISSING
    for element in array:
        if find(element, ("iscurrent",)) is True:
            return element
    return array[-1] if array else Absent.MISSING


def safe_name(name: str) -> str:
    """The field name for use in messages, or ``?`` if it does not look like a name.

    A response could use a person's identifier as a field name, or hold one in it in any encoding.
    """
    is_safe = (
        _SAFE_NAME.fullmatch(name) is not None
        and sum(map(str.isdigit, name)) <= _DIGITS_MAX
        and harmless_names[name]
    )
    return name if is_safe else "?"
