"""Remembers what was judged of texts that occur again and again: field names, codes, names."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

CHARS_MAX: Final = 128
"""Longer texts are judged each time: what is remembered must not fill the memory."""
_TEXTS_MAX: Final = 2048

_Verdict = TypeVar("_Verdict")


class Remembered(dict[str, _Verdict], Generic[_Verdict]):
    """The verdict of a function on each text, by ``remembered[text]``; made where it is new."""

    def __init__(self, judge: Callable[[str], _Verdict]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, text: str) -> _Verdict:
        verdict = self._judge(text)
        if len(text) <= CHARS_MAX:
            if len(self) >= _TEXTS_MAX:
                self.clear()
            self[text] = verdict
        return verdict
