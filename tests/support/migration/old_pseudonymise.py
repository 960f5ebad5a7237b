"""What version 0.1 took out of a record: the person's own identifier alone, in a few spellings.

The identifier is replaced in every string and field name at any depth: as its digits, and in the
groupings that people write (``160583 99649``, ``16.05.83-99649``). A number that is or holds it
becomes a string, also one that has lost the identifier's leading zeros.
"""

import re
from typing import Any, Final

from worker.core import exact_json
from worker.core.exact_json import LargeInteger

_SEPARATOR: Final = r"[\s./\-\u2010-\u2015]{0,3}"


def pseudonymise(canonical: bytes, identifier: str, replacement: str) -> bytes:
    """Canonical JSON without the identifier.

    Args:
        canonical: compact UTF-8 JSON as ``exact_json.canonical`` makes it.
        identifier: the digits to be replaced.
        replacement: what stands in their place; letters and digits, not all of them digits.
    """
    walk = _Walk(identifier, replacement)
    return exact_json.canonical(walk.value(exact_json.loads(canonical)))


class _Walk:
    def __init__(self, identifier: str, replacement: str) -> None:
        self._identifier = identifier
        self._short = identifier.lstrip("0")
        self._replacement = replacement
        day, month, year, rest = identifier[:2], identifier[2:4], identifier[4:-5], identifier[-5:]
        self._forms = re.compile(_SEPARATOR.join(map(re.escape, (day, month, year, rest))))

    def value(self, value: Any) -> Any:
        match value:
            case str():
                return self._text(value)
            case dict():
                return self._object(value)
            case list():
                return [self.value(element) for element in value]
            case int() | float() | LargeInteger() if not isinstance(value, bool):
                return self._number(value)
            case _:
                return value

    def _text(self, text: str) -> str:
        if text == self._short:
            return self._replacement
        return self._forms.sub(self._replacement, text)

    def _object(self, fields: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in fields.items():
            replaced = self._text(name)
            while replaced in result:  # two spellings of the identifier: keep both fields
                replaced += "_"
            result[replaced] = self.value(value)
        return result

    def _number(self, number: float | LargeInteger) -> float | LargeInteger | str:
        text = exact_json.dumps(number).decode()
        if text.removesuffix(".0") == self._short:
            return self._replacement
        if self._identifier in text:
            return text.replace(self._identifier, self._replacement)
        return number
