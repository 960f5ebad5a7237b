"""Batches socket writes and response callbacks per event loop iteration.

With 64 requests in flight, all responses arrived in one iteration and their readers ran for 5 ms
without a break. Each database result waited for that, eight times per batch (docs/performance.md).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.ports import HttpResponse

_SENT_MAX: Final = 8
"""Requests written together. With no limit, all responses would arrive together, too, and the
server would idle while they are read."""

RESPONSES_MAX: Final = 16
"""Responses delivered per event loop iteration."""


class RequestBatcher:
    """Writes the requests of one event loop iteration together.

    A sleeping server is woken once per batch instead of once per request, which costs this process
    less (docs/performance.md).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Callable[[], None]] = []
        self._is_due = False

    def put(self, send: Callable[[], None]) -> None:
        """Call ``send``, which writes a request, before the event loop waits again."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._on_iteration_end)
        self._waiting.append(send)
        if len(self._waiting) >= _SENT_MAX:
            self._flush()

    def _on_iteration_end(self) -> None:
        self._is_due = False
        self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for send in waiting:
            send()


class ResponseBatcher:
    """Delivers responses in order, a limited number per event loop iteration."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[asyncio.Future[HttpResponse], HttpResponse]] = deque()

    def put(self, answered: asyncio.Future[HttpResponse], response: HttpResponse) -> None:
        """Set the future's result in the next iterations, unless it is cancelled by then."""
        if not self._waiting:
            self._loop.call_soon(self._hand_out)
        self._waiting.append((answered, response))

    def _hand_out(self) -> None:
        for _ in range(min(RESPONSES_MAX, len(self._waiting))):
            answered, response = self._waiting.popleft()
            if not answered.done():
                answered.set_result(response)
        if self._waiting:
            self._loop.call_soon(self._hand_out)
