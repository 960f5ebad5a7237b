"""One limit on the bytes of all responses in flight, so that memory stays flat (promise 10)."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

IN_FLIGHT_BYTES: Final = 64 * 1024 * 1024
"""Limit for all responses in flight: four of the largest."""
SHARE_BYTES: Final = 128 * 1024
"""Room reserved for every request. Most responses are smaller. At the highest `sync.concurrency`,
all requests together reserve half of the limit. The rest is for large responses."""


class Share:
    """The room of one response."""

    def __init__(self, budget: "ByteBudget") -> None:
        self._budget = budget
        self.bytes = SHARE_BYTES

    def covers(self, received: int) -> bool:
        """Whether the response may grow to this size without more room."""
        return received <= self.bytes

    def grow(self, bytes_max: int, when_granted: Callable[[], None]) -> None:
        """Ask for the room of the largest response.

        It is granted at once or not at all, so no two responses wait for each other.

        Args:
            when_granted: called at once, or when another response has been read.
        """
        self._budget.grow(self, bytes_max, when_granted)


class ByteBudget:
    """Room for responses, granted in the order of requests."""

    def __init__(self, limit: int = IN_FLIGHT_BYTES) -> None:
        self._free = limit
        self._freed: anyio.Event | None = None
        self._growing: deque[tuple[Share, int, Callable[[], None]]] = deque()

    @asynccontextmanager
    async def share(self) -> AsyncIterator[Share]:
        """Wait for the room of one response. Enter before the request is sent."""
        # A growing response goes first: new requests could otherwise take its room forever.
        while self._growing or self._free < SHARE_BYTES:
            self._freed = self._freed or anyio.Event()
            await self._freed.wait()
        share = Share(self)
        self._free -= share.bytes
        try:
            yield share
        finally:
            if self._growing:
                others = (waiting for waiting in self._growing if waiting[0] is not share)
                self._growing = deque(others)
            self._free += share.bytes
            self._grant()

    def grow(self, share: Share, bytes_max: int, when_granted: Callable[[], None]) -> None:
        """See ``Share.grow``."""
        self._growing.append((share, bytes_max, when_granted))
        self._grant()

    def _grant(self) -> None:
        while self._growing:
            share, bytes_max, when_granted = self._growing[0]
            # In order, even if a later one would fit, so that the largest response is not starved.
            if (more := bytes_max - share.bytes) > self._free:
                break
            self._growing.popleft()
            self._free -= more
            share.bytes = bytes_max
            when_granted()
        if self._freed is not None:
            self._freed.set()
            self._freed = None
