"""Removes names of authors from restrictions; keeps roles and organisations.

PTS does not document the content of ``createdBy`` (pts reference, 1.4 and section 2), so the
decision depends on its form. A text of one word (a system, a code, an identifier) is kept, other
texts are not. Fields named after a role or an organisation are kept unchanged.
"""

import re
from typing import Any, Final

from worker.core.remembered import Remembered

AUTHOR_FIELDS: Final = frozenset(
    {"createdby", "modifiedby", "lastmodifiedby", "updatedby", "changedby", "registeredby"}
)
"""The author fields, in lower case."""

NOT_KEPT: Final = "(not kept)"
"""The replacement for a name."""

_ROLE_OR_ORGANISATION: Final = re.compile(
    r"rol(?:e|le)|org|unit|enhet|avdeling|department|system|client|virksomhet|institu|hospital"
    r"|sykehus|type|code|kode|source|kilde|title|tittel",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"name|navn|display|mail|phone|telefon|initial|signatur", re.IGNORECASE)
_are_roles: Final = Remembered(lambda name: _ROLE_OR_ORGANISATION.search(name) is not None)
_are_names: Final = Remembered(lambda name: _NAME.search(name) is not None)
_WORD: Final = re.compile(r"(?:[\w:/|#+~-]|(?<=\d)\.(?=\d))+")
_are_words: Final = Remembered(lambda text: _WORD.fullmatch(text) is not None)


def is_author_field(name: str) -> bool:
    """Whether a field names an author."""
    return name.lower() in AUTHOR_FIELDS


def without_names(value: Any) -> Any:
    """Remove names from all author fields; return the same object if there are none."""
    if isinstance(value, dict):
        return _replaced(value, {name: _field(name, inner) for name, inner in value.items()})
    if isinstance(value, list):
        return _replaced(value, [without_names(element) for element in value])
    return value


def role_and_organisation(author: Any) -> Any:
    """The part of an author that the views show; None if there is none.

    One-word texts and numbers are kept. Of an object, the fields named after a role or an
    organisation are kept.
    """
    match author:
        case str():
            return author if _are_words[author] else None
        case dict():
            shown: dict[str, Any] = {}
            for name, inner in author.items():
                if _are_roles[name]:
                    shown[name] = inner
                elif isinstance(inner, (dict, list)):
                    shown[name] = role_and_organisation(inner)
            return {name: inner for name, inner in shown.items() if inner is not None} or None
        case list():
            elements = [role_and_organisation(element) for element in author]
            return [element for element in elements if element is not None] or None
        case _:
            return author


def without_name(value: Any, name: str) -> Any:
    """Remove names from the value of an author field; return the same object if there are none."""
    match value:
        case str():
            return value if _are_words[value] and not _are_names[name] else NOT_KEPT
        case dict():
            return _replaced(
                value,
                {
                    name: inner if _are_roles[name] else without_name(inner, name)
                    for name, inner in value.items()
                },
            )
        case list():
            return _replaced(value, [without_name(element, name) for element in value])
        case _:
            return value


def _field(name: str, value: Any) -> Any:
    if is_author_field(name):
        return without_name(value, name)
    return without_names(value) if isinstance(value, (dict, list)) else value


def _replaced(before: Any, after: Any) -> Any:
    """The original container, if nothing in it was replaced."""
    return before if before == after else after
