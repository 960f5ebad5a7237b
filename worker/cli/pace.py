"""The rate of the last minute, and how long the rest takes at it."""

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0
_STEP_S: Final = 1.0
_PAUSE_S: Final = 5.0
"""Work is done in batches: so long after the last one the rate is that up to it."""


class Pace:
    """Counts what is done over time. Old work, of an earlier process, must not be counted."""

    def __init__(self, now_s: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now_s, 0)])

    def add(self, now_s: float, done: int) -> None:
        """Note how much is done in all at a time of a monotonic clock."""
        if done == self._samples[-1][1]:
            return
        if len(self._samples) > 1 and now_s - self._samples[-2][0] < _STEP_S:
            self._samples.pop()
        self._samples.append((now_s, done))
        self._drop(now_s)

    def per_s(self, now_s: float) -> float:
        """The rate of the last minute, or since the start if that is shorter."""
        self._drop(now_s)
        (first_s, before), (last_s, done) = self._samples[0], self._samples[-1]
        until_s = max(last_s, now_s - _PAUSE_S)
        return (done - before) / (until_s - first_s) if until_s > first_s else 0.0

    def left_s(self, now_s: float, left: int) -> float | None:
        """Seconds for the rest at that rate; None if nothing was done in the last minute."""
        rate = self.per_s(now_s)
        return max(left, 0) / rate if rate > 0 else None

    def _drop(self, now_s: float) -> None:
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()
