"""Limits the number of concurrent requests."""

import math
from collections import deque

import anyio


class Permits:
    """Admits waiting requests in order as permits become free, probes first.

    Attributes:
        limit: maximum number of permits in use; call ``admit`` after raising it.
        is_held: admit probes only; call ``admit`` after clearing it.
    """

    def __init__(self) -> None:
        self.limit = math.inf
        self.is_held = False
        self._used = 0
        self._queue: deque[anyio.Event] = deque()
        self._probes: deque[anyio.Event] = deque()

    @property
    def is_exceeded(self) -> bool:
        """Whether more permits are in use than the limit allows now."""
        return self._used > self.limit

    async def acquire(self, *, is_probe: bool) -> None:
        """Wait for a permit and take it."""
        if self._used < self.limit and (is_probe or not (self._queue or self.is_held)):
            self._used += 1
            return
        queue = self._probes if is_probe else self._queue
        admitted = anyio.Event()
        queue.append(admitted)
        try:
            await admitted.wait()
        except BaseException:
            if admitted.is_set():
                self.release()
            else:
                queue.remove(admitted)
            raise

    def release(self) -> None:
        """Return a permit."""
        self._used -= 1
        self.admit()

    def admit(self) -> None:
        """Give free permits to waiting requests, probes first."""
        while self._used < self.limit:
            queue = self._probes or (() if self.is_held else self._queue)
            if not queue:
                return
            self._used += 1
            queue.popleft().set()

    def admit_all(self) -> None:
        """Wake every waiting request, regardless of the limit."""
        self.is_held = False
        for queue in (self._probes, self._queue):
            self._used += len(queue)
            while queue:
                queue.popleft().set()
