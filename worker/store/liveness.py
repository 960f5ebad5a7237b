"""Tells a PostgreSQL that is busy from one that is frozen, and does not wait for the latter.

A server, or a machine, that stands still keeps its connections open and says nothing: a statement
there waits without limit, and none can be told from a long one by its own length. So whoever waits
for long asks on another connection, opened while all was well. If no answer comes there either,
all connections are cut off here; what waited ends as with any lost connection, and is tried again
for as long as patience lasts (``store.database``). A long publication is left alone: the server
answers.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final
from weakref import WeakSet

import structlog

from worker.ports import Runtime

log = structlog.get_logger(__name__)

_CLOSE_S: Final = 2.0
_SLICES: Final = 8


class Liveness:
    """Watches the connections of one PostgreSQL.

    Times follow patience: whoever has waited a sixth of it asks, and an answer may take a third.

    Args:
        runtime: the monotonic clock and sleep.
        patience_s: how long an outage is borne.
        silent_since: told the moment at which the server fell silent, on the monotonic clock.
        left_s: what is left of patience: a connection is not waited for longer.
        connection_class: makes the class of the connections, of the driver's or of a caller's.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        patience_s: float,
        silent_since: Callable[[float], object],
        left_s: Callable[[], float],
        connection_class: Callable[[Any], Any],
    ) -> None:
        self.ask_after_s = min(10.0, max(1.0, patience_s / 6))
        self.silence_s_max = min(20.0, max(2.0, patience_s / 3))
        self._runtime = runtime
        self._silent_since = silent_since
        self._left_s = left_s
        self._connection_class = connection_class
        self._open: WeakSet[Any] = WeakSet()
        self._how: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._other: Any = None
        self._waiting: dict[object, float] = {}
        self._watch: asyncio.Task[None] | None = None

    async def connect(self, *args: Any, **more: Any) -> Any:
        """A connection that is watched, as ``asyncpg.connect`` makes it; does not wait for ever."""
        kind = self._connection_class(more.pop("connection_class", None))
        self._how = (args, {**more, "connection_class": kind})
        made = await self._connect()
        self._open.add(made)
        return made

    async def prepare(self) -> None:
        """Open the other connection: by those who will wait long, while the server answers."""
        if self._other is None:
            await self._answers()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the block waits for the server, see that it is there."""
        one = object()
        self._waiting[one] = self._runtime.monotonic()
        alarm = asyncio.get_running_loop().call_later(self.ask_after_s, self._begin)
        try:
            yield
        finally:
            alarm.cancel()
            del self._waiting[one]

    def cut_off(self) -> None:
        """End all connections without a word to the server; whoever waits there is told at once."""
        for one in [*self._open, *([self._other] if self._other is not None else [])]:
            one.terminate()
        self._open.clear()
        self._other = None

    async def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
        if self._other is not None:
            with suppress(Exception):
                await self._other.close(timeout=_CLOSE_S)
            self._other = None

    def _begin(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Ask as long as somebody has waited for long."""
        while self._is_long():
            if not await self._answers():
                log.warning("database.silent", silence_s=round(self.silence_s_max, 3))
                self._silent_since(self._runtime.monotonic() - self.silence_s_max)
                self.cut_off()
                return
            await self._runtime.sleep(self.ask_after_s)

    def _is_long(self) -> bool:
        oldest_s = min(self._waiting.values(), default=None)
        # The timer may be a little early by the other clock.
        return oldest_s is not None and (
            self._runtime.monotonic() - oldest_s >= 0.9 * self.ask_after_s
        )

    async def _answers(self) -> bool:
        """Whether the server says anything, be it no; only silence is held against it.

        It is waited for in slices: a process that was itself paused meanwhile has lost one of them.
        """
        asking = asyncio.get_running_loop().create_task(self._ask())
        try:
            for _ in range(_SLICES):
                await asyncio.wait({asking}, timeout=self.silence_s_max / _SLICES)
                if asking.done():
                    break
        finally:
            asking.cancel()
        fault = asking.exception() if asking.done() and not asking.cancelled() else None
        if fault is not None:  # refused, shut down, cut off: whoever waits there is told so
            log.debug("database.not_asked", fault=type(fault).__name__)
        if not asking.done() or fault is not None:
            self._forget_other()
        return asking.done() and not isinstance(fault, TimeoutError)

    async def _ask(self) -> None:
        if self._other is not None and self._other.is_closed():
            self._other = None
        if self._other is None and self._how is not None:
            self._other = await self._connect()
        if self._other is not None:
            await self._other.execute("SELECT 1")  # nothing is prepared outside a transaction

    async def _connect(self) -> Any:
        assert self._how is not None  # noqa: S101 - ``connect`` came first
        args, more = self._how
        driver = import_module("asyncpg")  # not for whoever has SQLite
        wait_s = min(self.silence_s_max, self._left_s())
        return await driver.connect(*args, timeout=wait_s, **more)

    def _forget_other(self) -> None:
        if self._other is not None:
            self._other.terminate()
            self._other = None
