"""Replay detection in bounded memory."""

import time
from array import array
from typing import Final

_BUCKETS: Final = 1 << 17


class ReplayWindow:
    """Remembers each ``jti`` for at least ``window_s`` seconds and at most twice as long.

    Stores a 64-bit hash of each. With 10^5 entries, the probability of a collision is about 10^-9.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._rotated_at = time.monotonic()

    def seen(self, jti: str) -> bool:
        """Whether ``jti`` was seen within the window; records it."""
        elapsed_s = time.monotonic() - self._rotated_at
        if elapsed_s >= self._window_s:
            self._old = self._young if elapsed_s < 2 * self._window_s else set()
            self._young = set()
            self._rotated_at = time.monotonic()
        key = hash(jti)
        if key in self._young or key in self._old:
            return True
        self._young.add(key)
        return False


class RepeatDetector:
    """Counts repeated ``jti`` over the lifetime of the sandbox in 1 MiB.

    A repeat is missed if another ``jti`` has overwritten its bucket. A count above 0 is certain; a
    count of 0 is certain only for a small number of entries.
    """

    def __init__(self) -> None:
        self._buckets = array("q", bytes(8 * _BUCKETS))
        self.repeats = 0

    def add(self, jti: str) -> None:
        """Record a ``jti``."""
        key = hash(jti) or 1
        bucket = key % _BUCKETS
        if self._buckets[bucket] == key:
            self.repeats += 1
        self._buckets[bucket] = key
