"""A bounded line of items between tasks, in which nobody waits who need not.

anyio's memory streams give each item a turn of the loop of its own: at full speed one person a turn
is handed out, and requests that could go out together go one by one (docs/performance.md).
"""

from collections import deque
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Line(Generic[T]):
    """First in, first out; any number of tasks on either side.

    Args:
        room: items that may stand in it. Who has waited for room goes on when half of it is free.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._items: deque[T] = deque()
        self._takers: deque[tuple[int, anyio.Event]] = deque()
        self._putters: deque[anyio.Event] = deque()
        self._is_closed = False

    async def put(self, item: T) -> bool:
        """Add an item, once there is room.

        Returns:
            False if the line is closed, and the item is not in it.
        """
        while len(self._items) >= self._room and not self._is_closed:
            is_free = anyio.Event()
            self._putters.append(is_free)
            await is_free.wait()
        if self._is_closed:
            return False
        self._items.append(item)
        self._wake_taker()
        return True

    async def take(self) -> T | None:
        """The next item; ``None`` if the line is closed and empty."""
        while not self._items:
            if self._is_closed:
                return None
            await self.wait_for(1)
        item = self._items.popleft()
        self._free_room()
        return item

    async def wait_for(self, count: int) -> None:
        """Return when so many items are there at once, or no more will come."""
        if len(self._items) >= count or self._is_closed:
            return
        is_there = anyio.Event()
        self._takers.append((count, is_there))
        try:
            await is_there.wait()
        except BaseException:
            if is_there.is_set():
                self._wake_taker()  # it was another's turn, then
            else:
                self._takers.remove((count, is_there))
            raise

    def take_up_to(self, count: int) -> list[T]:
        """What is there, but no more than ``count``."""
        taken = [self._items.popleft() for _ in range(min(count, len(self._items)))]
        self._free_room()
        return taken

    @property
    def is_over(self) -> bool:
        """Whether it is closed and empty."""
        return self._is_closed and not self._items

    def close(self) -> None:
        """Let nothing more in. What stands in it may still be taken."""
        self._is_closed = True
        for _, is_there in self._takers:
            is_there.set()
        self._takers.clear()
        self._free_room()

    def _wake_taker(self) -> None:
        if self._takers and len(self._items) >= self._takers[0][0]:
            self._takers.popleft()[1].set()

    def _free_room(self) -> None:
        if self._putters and (self._is_closed or 2 * len(self._items) <= self._room):
            for is_free in self._putters:
                is_free.set()
            self._putters.clear()
