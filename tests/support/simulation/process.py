"""A simulated process: the real ``App`` with its outside replaced, and the ways in which it dies.

Whatever leaves the process (a database call, an HTTP call, a look at the clock, a read of a file)
passes ``Process.touch`` first. There it can be counted, failed, or made the last thing that the
process ever did: a dead process touches nothing any more, so its clean-up cannot change the world.
"""

import random
import sqlite3
import types
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
from sqlalchemy import event

from tests.support.model.values import expect
from tests.support.simulation.loop import PROCESS, Clock
from worker.ports import Runtime
from worker.store.database import Database, open_database

DATABASE, HTTP, CLOCK, FILE = "database", "http", "clock", "file"
"""``FILE`` is a read of the roster."""
COMMIT, BEGIN_WRITE = "commit", "begin a write"
"""Database calls that are also counted by themselves."""
_HOLDER = "SELECT holder FROM lease WHERE holder IS NOT NULL"
_CALLS = frozenset({"execute", "executemany", "fetchall", "commit", "rollback"})
_NO_WAIT = "PRAGMA busy_timeout=0"
"""For a lock SQLite would wait in real time, in which nobody here can release it."""


class DiedError(BaseException):
    """The process is no more."""


class Trace:
    """Everything that left a process, in order: its digest tells two runs apart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._digest = blake2b(digest_size=16)
        self.last: list[str] = []
        self.length = 0

    def add(self, line: str) -> None:
        text = f"{self._clock.elapsed_s:.6f} {line}"
        self._digest.update(text.encode())
        self.length += 1
        self.last.append(text)
        if len(self.last) > 400:
            del self.last[:200]

    def digest(self) -> str:
        return self._digest.hexdigest()


@dataclass(kw_only=True)
class Trouble:
    """What goes wrong with one process.

    Attributes:
        crash_at: the number of the touch that is its last; None if it lives.
        fail: kind and number of a touch, and how it fails; see ``_FLAVOURS``.
        persistent: from that number on, every touch of the kind fails.
    """

    crash_at: int | None = None
    fail: dict[tuple[str, int], str] = field(default_factory=dict)
    persistent: bool = False


_WRONG_BY = {"ahead": timedelta(days=1), "behind": timedelta(days=-1)}
"""By how much a wall clock is off."""

_FLAVOURS = {
    "locked": "database is locked",
    "io": "disk I/O error",
    "full": "database or disk is full",
    "lost": "connection closed",
}
"""How a database call fails. ``done-…``: after it was carried out."""


@dataclass(kw_only=True, eq=False)
class Process:
    """One simulated process.

    Attributes:
        ids: those that it has made, among them its own as a holder of the lease.
    """

    number: int
    clock: Clock
    trace: Trace
    rng: random.Random
    trouble: Trouble = field(default_factory=Trouble)
    counts: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    before_write: Callable[[int], None] = lambda _number: None
    after_commit: Callable[[], None] = lambda: None
    began: Callable[[int], None] = lambda _run_id: None
    ids: set[str] = field(default_factory=set)
    touches: int = 0
    touched: list[str] = field(default_factory=list)
    dead: bool = False
    ended: bool = False
    longest_sleep_s: float = 0.0
    connections: list["InlineConnection"] = field(default_factory=list)

    def touch(self, kind: str, what: str = "") -> str:
        """Something is about to leave the process; the flavour of the fault that meets it.

        Raises:
            DiedError: the process is dead, or dies here.
        """
        if self.dead:
            raise DiedError
        self.touches += 1
        self.touched.append(what)
        self.counts[kind] += 1
        number = self.counts[kind]
        self.trace.add(f"{self.number} {kind} {number} {what}")
        if self.touches == self.trouble.crash_at:
            self.injected["crash"] += 1
            self.die()
            raise DiedError
        flavour = self.trouble.fail.get((kind, number), "")
        if what == "commit ":
            self.counts[COMMIT] += 1
            flavour = flavour or self.trouble.fail.get((COMMIT, self.counts[COMMIT]), "")
        if what.startswith("execute BEGIN IMMEDIATE"):
            self.counts[BEGIN_WRITE] += 1
            self.before_write(self.counts[BEGIN_WRITE])
        if not flavour and self.trouble.persistent:
            flavour = next(
                (how for (k, n), how in self.trouble.fail.items() if k == kind and n <= number), ""
            )
        return flavour

    def die(self) -> None:
        """The machine takes the process away: files are closed, open transactions are gone."""
        self.dead = True
        self.trace.add(f"{self.number} dies")
        for connection in self.connections:
            connection.force_close()

    def runtime(self) -> Runtime:
        """Clock, sleep, randomness and ids of this process."""

        def now():
            flavour = self.touch(CLOCK)
            if flavour:
                self.injected[f"clock {flavour}"] += 1
            if flavour == "error":
                raise OSError(5, "the clock cannot be read")
            return self.clock.now() + _WRONG_BY.get(flavour, timedelta(0))

        def monotonic():
            flavour = self.touch(CLOCK)
            if flavour == "error":
                self.injected["clock error"] += 1
                raise OSError(5, "the clock cannot be read")
            return self.clock.elapsed_s

        async def sleep(seconds: float) -> None:
            if self.dead:
                raise DiedError
            self.longest_sleep_s = max(self.longest_sleep_s, seconds)
            await anyio.sleep(seconds)
            if self.dead:
                raise DiedError

        return Runtime(
            now=now,
            monotonic=monotonic,
            sleep=sleep,
            uniform=self.rng.random,
            new_id=self._new_id,
        )

    def _new_id(self) -> str:
        made = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.ids.add(made)
        return made


class InlineConnection(aiosqlite.Connection):
    """An ``aiosqlite`` connection without its thread: each call runs in the loop.

    Other tasks run before each call, as they would with the thread.
    """

    def __init__(self, process: Process, path: str) -> None:
        def connect() -> sqlite3.Connection:
            return sqlite3.connect(path, timeout=0, check_same_thread=False)

        super().__init__(connect, 64)
        self._tx: Any = _InlineQueue()
        self._process = process
        self._changes = 0
        process.connections.append(self)

    def __await__(self):
        return self._open().__await__()

    async def _open(self) -> "InlineConnection":
        await self._call("connect")
        self._connection = self._connector()
        return self

    async def _call(self, name: str, *args: Any) -> str:
        if name != "fetchall":
            await _others_first()
        what = str(args[0])[:48] if args and name != "fetchall" else ""
        flavour = self._process.touch(DATABASE, f"{name} {what}")
        if flavour and not flavour.startswith("done-"):
            self._process.injected[f"database {flavour}"] += 1
            raise sqlite3.OperationalError(_FLAVOURS[flavour])
        return flavour

    async def _execute(self, fn, *args, **kwargs):
        name = getattr(fn, "__name__", "")
        if name not in _CALLS:
            if self._process.dead:
                raise DiedError
            return fn(*args, **kwargs)
        flavour = await self._call(name, *args)
        if self._connection is None:
            raise ValueError("Connection closed")
        if args and str(args[0]).startswith("PRAGMA busy_timeout"):
            args = (_NO_WAIT, *args[1:])
        if name == "commit":
            self._check_holder()
        result = fn(*args, **kwargs)
        if name in {"commit", "rollback"}:
            self._changes = self._conn.total_changes
        if name == "commit":
            self._process.after_commit()
        if flavour:
            self._process.injected[f"database {flavour} ({name})"] += 1
            raise sqlite3.OperationalError(_FLAVOURS[flavour.removeprefix("done-")])
        return result

    def _check_holder(self) -> None:
        """What is about to be committed is the lease's holder's, or nothing (promise 4)."""
        if self._conn.total_changes != self._changes:
            holders = {holder for (holder,) in self._conn.execute(_HOLDER)}
            others = holders - self._process.ids
            expect(not others, f"process {self._process.number} writes while others hold the lease")

    async def close(self) -> None:
        if self._process.dead and self._connection is not None:
            raise DiedError
        self.force_close()

    def stop(self):
        self.force_close()

    def force_close(self) -> None:
        """Close the file, whatever is open on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # A cursor that is left in some frame would keep the file's locks beyond a mere close.
            with suppress(sqlite3.Error):
                connection.rollback()
            with suppress(sqlite3.Error):
                connection.close()

    def __del__(self) -> None:
        self.force_close()


@types.coroutine
def _others_first() -> Generator[None, None, None]:
    """Let other tasks run; cheaper than a checkpoint, and like it where a call is shielded."""
    yield


class _InlineQueue:
    """Where SQLAlchemy sets the isolation level through the connection's queue."""

    def put_nowait(self, item: Any) -> None:
        future, function = item
        future.set_result(function())


@asynccontextmanager
async def opened(process: Process, path: Path) -> AsyncIterator[Database]:
    """The database file as this process sees it, through the program's own engine."""

    def inline(_dialect: Any, _record: Any, _args: Any, parameters: Any) -> None:
        parameters["async_creator_fn"] = lambda *_, **_more: InlineConnection(process, str(path))

    async with open_database(f"sqlite:///{path}", process.runtime()) as database:
        event.listen(database.engine.sync_engine, "do_connect", inline)
        try:
            yield database
        finally:
            for connection in process.connections:
                connection.force_close()


def entered(process: Process) -> Any:
    """Mark the calling task, and those that it starts, as the process's."""
    return PROCESS.set(process.number)
