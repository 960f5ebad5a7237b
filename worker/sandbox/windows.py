"""What was seen lately, in bounded memory."""

import time
from array import array
from typing import Final

_SLOTS: Final = 1 << 17


class ReplayWindow:
    """Remembers each ``jti`` for at least ``window_s`` seconds and at most twice as long.

    Only a 64-bit hash of each is kept; with 10^5 in the window, two different ones are taken for
    the same with a chance of about 10^-9.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._turned_at = time.monotonic()

    def seen(self, jti: str) -> bool:
        """Tell whether it was seen within the window, and remember it."""
        elapsed_s = time.monotonic() - self._turned_at
        if elapsed_s >= self._window_s:
            self._old = self._young if elapsed_s < 2 * self._window_s else set()
            self._young = set()
            self._turned_at = time.monotonic()
        key = hash(jti)
        if key in self._young or key in self._old:
            return True
        self._young.add(key)
        return False


class RepeatDetector:
    """Counts repeats over the whole life of the sandbox in 1 MiB.

    A repeat is missed if another ``jti`` took its slot meanwhile: a count above 0 is certain, a 0
    is certain while there are few.
    """

    def __init__(self) -> None:
        self._slots = array("q", bytes(8 * _SLOTS))
        self.repeats = 0

    def add(self, jti: str) -> None:
        """Note one."""
        key = hash(jti) or 1
        slot = key % _SLOTS
        if self._slots[slot] == key:
            self.repeats += 1
        self._slots[slot] = key
