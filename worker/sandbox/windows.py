"""Replay detection in bounded memory."""

import time


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
