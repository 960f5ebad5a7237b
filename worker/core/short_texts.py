"""A bounded cache for functions of short, recurring texts: field names, codes, names."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

CHARS_MAX: Final = 128
"""Longer texts are not cached, to bound the memory."""
_TEXTS_MAX: Final = 2048

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
