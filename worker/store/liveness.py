"""Distinguishes a busy PostgreSQL server from a frozen one, and stops waiting for the frozen one.

A frozen server or machine keeps its connections open and sends nothing, so a statement waits
without limit; its duration alone does not show whether it is only slow. When a statement takes
long, the worker therefore sends a query on a second connection, opened while the server answered.
If that gets no answer either, all connections are terminated here. The waiting transactions fail
as with any lost connection, and are retried within ``patience_s`` (``store.database``). A long
publication is not interrupted, because the server answers the query.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final
from weakref import WeakSet

import anyio
import structlog

from worker.ports import Runtime
from worker.store.catalogues import PROBE
from worker.store.outage import STOPPED_S

log = structlog.get_logger(__name__)

_CLOSE_S: Final = 2.0
_SLICES: Final = 8
_STOPPED_SILENCE_S: Final = 4.0


class Liveness:
    """Watches the connections to one PostgreSQL server.

    After waiting a sixth of ``patience_s`` it queries the server, which has a third to answer, and
    no longer than ``_STOPPED_SILENCE_S`` once ``stop`` is set.

    Args:
        silent_since: called with the time at which the server went silent, on the monotonic clock.
        left_s: gives what is left of ``patience_s``, the limit for opening a connection.
        connection_class: returns the connection class to use, given the caller's class or None.
        stop: once it is set, opening a connection takes no longer than ``STOPPED_S`` either.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        patience_s: float,
        silent_since: Callable[[float], object],
        left_s: Callable[[], float],
        connection_class: Callable[[Any], Any],
        stop: anyio.Event | None = None,
    ) -> None:
        self.ask_after_s = min(10.0, max(1.0, patience_s / 6))
        self.silence_s_max = min(20.0, max(2.0, patience_s / 3))
        self._runtime = runtime
        self._silent_since = silent_since
        self._left_s = left_s
        self._connection_class = connection_class
        self._stop = stop or anyio.Event()
        self._open: WeakSet[Any] = WeakSet()
        self._connect_arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._probe: Any = None
        self._waiting: dict[object, float] = {}
        self._watch: asyncio.Task[None] | None = None

    async def connect(self, *args: Any, **more: Any) -> Any:
        """Open a watched connection, with the arguments of ``asyncpg.connect`` and a timeout."""
        kind = self._connection_class(more.pop("connection_class", None))
        self._connect_arguments = (args, {**more, "connection_class": kind})
        connection = await self._connect()
        self._open.add(connection)
        return connection

    async def prepare(self) -> None:
        """Open the second connection. Call it before long statements, while the server answers."""
        if self._probe is None:
            await self._answers()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the server while the block waits for it."""
        waiter = object()
        self._waiting[waiter] = self._runtime.monotonic()
        alarm = asyncio.get_running_loop().call_later(self.ask_after_s, self._begin)
        try:
            yield
        finally:
            alarm.cancel()
            del self._waiting[waiter]

    def cut_off(self) -> None:
        """Terminate all connections without contacting the server; waiting statements fail."""
        for connection in [*self._open, *([self._probe] if self._probe is not None else [])]:
            connection.terminate()
        self._open.clear()
        self._probe = None

    async def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
        if self._probe is not None:
            with suppress(Exception):
                await self._probe.close(timeout=_CLOSE_S)
            self._probe = None

    def _begin(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._query_while_waiting())

    async def _query_while_waiting(self) -> None:
        """Query the server as long as a block has waited for ``ask_after_s``."""
        while self._is_long():
            asked_s = self._runtime.monotonic()
            if not await self._answers():
                silence_s = self._runtime.monotonic() - asked_s
                log.warning("database.silent", silence_s=round(silence_s, 3))
                self._silent_since(asked_s)
                self.cut_off()
                return
            await self._runtime.sleep(self.ask_after_s)

    def _is_long(self) -> bool:
        oldest_s = min(self._waiting.values(), default=None)
        # The event loop's timer may fire a little early by the runtime's clock.
        return oldest_s is not None and (
            self._runtime.monotonic() - oldest_s >= 0.9 * self.ask_after_s
        )

    async def _answers(self) -> bool:
        """Whether the server responds at all. An error counts as a response, a timeout does not.

        The wait is split into slices, so that a pause of this process uses up only one of them.
        """
        asking = asyncio.get_running_loop().create_task(self._ask())
        try:
            for _ in range(_SLICES):
                is_stopping = self._stop.is_set()
                silence_s = min(self.silence_s_max, _STOPPED_SILENCE_S if is_stopping else math.inf)
                await asyncio.wait({asking}, timeout=silence_s / _SLICES)
                if asking.done():
                    break
        finally:
            asking.cancel()
        error = asking.exception() if asking.done() and not asking.cancelled() else None
        if error is not None:  # refused, shut down or cut off: waiting statements fail themselves
            log.debug("database.not_asked", fault=type(error).__name__)
        if not asking.done() or error is not None:
            self._drop_probe()
        return asking.done() and not isinstance(error, TimeoutError)

    async def _ask(self) -> None:
        if self._probe is not None and self._probe.is_closed():
            self._probe = None
        if self._probe is None and self._connect_arguments is not None:
            self._probe = await self._connect()
        if self._probe is not None:
            # ``execute`` without arguments prepares nothing: this is outside a transaction.
            await self._probe.execute(PROBE)

    async def _connect(self) -> Any:
        assert self._connect_arguments is not None  # noqa: S101 - ``connect`` came first
        args, more = self._connect_arguments
        driver = import_module("asyncpg")  # SQLite installations do not need it
        wait_s = min(self.silence_s_max, self._left_s())
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(driver.connect(*args, timeout=wait_s, **more))
        stopping = loop.create_task(self._stop.wait())
        try:
            await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(STOPPED_S if self._stop.is_set() else None):
                return await connecting
        finally:
            stopping.cancel()
            connecting.cancel()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.terminate()
            self._probe = None
