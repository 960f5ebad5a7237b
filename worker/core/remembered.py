"""Bounded caches for functions of what records repeat: texts, and the field names of objects."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

CHARS_MAX: Final = 128
"""Longer texts are not cached."""
_TEXTS_MAX: Final = 2048
_NAMES_CHARS_MAX: Final = 1024
"""Objects with longer field names, together, are not cached."""
_OBJECTS_MAX: Final = 512

_Result = TypeVar("_Result")


class Remembered(dict[str, _Result], Generic[_Result]):
    """Caches a function of a text: ``remembered[text]`` calls it if the text is new."""

    def __init__(self, function: Callable[[str], _Result]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> _Result:
        result = self._function(text)
        if len(text) <= CHARS_MAX:
            if len(self) >= _TEXTS_MAX:
                self.clear()
            self[text] = result
        return result


class RememberedNames(dict[tuple[str, ...], _Result], Generic[_Result]):
    """The same, for a function of an object's field names."""

    def __init__(self, function: Callable[[tuple[str, ...]], _Result]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, names: tuple[str, ...]) -> _Result:
        result = self._function(names)
        if sum(map(len, names)) <= _NAMES_CHARS_MAX:
            if len(self) >= _OBJECTS_MAX:
                self.clear()
            self[names] = result
        return result
