"""Fields of JSON documents by path, in whichever case PTS spells them.

A path is written ``patientSafetyObject.person.offId``; ``timeRanges[0].from`` takes an element,
``accessRestriction[current]`` the element that is in force (``isCurrent`` true, else the last).
"""

import enum
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from worker.errors import ContractError


class Pick(enum.Enum):
    """How to choose an element of an array other than by its number."""

    CURRENT = "current"


class Absent(enum.Enum):
    """Why there is no value at a path."""

    MISSING = enum.auto()
    """No such field, or null on the way."""
    WRONG_TYPE = enum.auto()
    """Something on the way is not the object or array that the path goes through."""


Step: TypeAlias = str | int | Pick
FieldPath: TypeAlias = tuple[Step, ...]

FIELDS_MAX: Final = 1_000
"""Fields of an object that is looked into."""
NAMES_LENGTH_MAX: Final = 5_000
"""Characters of all its field names. Names are remembered, so they must not be many megabytes."""

_SEGMENT: Final = re.compile(r"([^.\[\]\s]+)(?:\[(\d{1,4}|current)\])?")
_SAFE_NAME: Final = re.compile(r"[A-Za-z_@$](?!.*\d{5})[\w@$.:-]{0,59}", re.ASCII)


@lru_cache(maxsize=1024)
def parse_path(text: str) -> FieldPath:
    """The steps of a path, names in lower case.

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
        ContractError: two names differ in case only, so that either could be meant; or there are
            more, or longer ones, than may be remembered.
    """
    if len(names) > FIELDS_MAX or sum(map(len, names)) > NAMES_LENGTH_MAX:
        raise ContractError(f"an object of more than {FIELDS_MAX} fields, or with very long names")
    spelled = {name.lower(): name for name in names}
    if len(spelled) != len(names):
        raise ContractError("two fields of one object differ in case only")
    return spelled


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
    """A field name fit for a message: itself if it looks like a name, else a question mark.

    A name comes from PTS's answer, and an answer could use a person's identifier as one.
    """
    return name if _SAFE_NAME.fullmatch(name) else "?"
