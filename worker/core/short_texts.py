"""Remembers what was judged of texts that occur again and again: field names, codes, names."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

CHARS_MAX: Final = 128
"""Longer texts are judged each time: what is remembered must not fill the memory."""

_Verdict = TypeVar("_Verdict")


def remembered(judge: Callable[[str], _Verdict]) -> Callable[[str], _Verdict]:
    """The function with a memory for the last 2,048 short texts."""
    known = lru_cache(maxsize=2048)(judge)

    def judged(text: str) -> _Verdict:
        return known(text) if len(text) <= CHARS_MAX else judge(text)

    judged.__doc__ = judge.__doc__
    return judged
