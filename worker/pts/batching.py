"""What goes out and what comes in during one turn of the loop, in helpings.

With 64 requests under way all answers came in one turn, and their readers ran for 5 ms on end; each
answer of the database waited for that, eight times a batch (docs/performance.md).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.ports import HttpResponse

_SENT_MAX: Final = 8
"""Requests that go out together: if all went at once, all answers would come at once, too, and the
server would rest while they are read."""

ANSWERS_MAX: Final = 16
"""Answers whose readers run in one turn."""


class RequestBatcher:
    """Requests of one turn of the loop, given to the kernel together at its end.

    A server that sleeps is woken once for all of them, which costs us less than once for each
    (docs/performance.md).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Callable[[], None]] = []
        self._is_due = False

    def put(self, send: Callable[[], None]) -> None:
        """Call ``send``, which writes a request, before the loop waits again."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._end_of_turn)
        self._waiting.append(send)
        if len(self._waiting) >= _SENT_MAX:
            self._flush()

    def _end_of_turn(self) -> None:
        self._is_due = False
        self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for send in waiting:
            send()


class ResponseBatcher:
    """Whole answers, handed to those who wait for them: a few in each turn, in their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[asyncio.Future[HttpResponse], HttpResponse]] = deque()

    def put(self, answered: asyncio.Future[HttpResponse], answer: HttpResponse) -> None:
        """Set the future's result, now or in one of the next turns, if somebody still waits."""
        if not self._waiting:
            self._loop.call_soon(self._hand_out)
        self._waiting.append((answered, answer))

    def _hand_out(self) -> None:
        for _ in range(min(ANSWERS_MAX, len(self._waiting))):
            answered, answer = self._waiting.popleft()
            if not answered.done():
                answered.set_result(answer)
        if self._waiting:
            self._loop.call_soon(self._hand_out)
