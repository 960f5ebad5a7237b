"""Persons who wait for their second read, and those who read them again (promise 1).

First reads go before second ones: a person waits until the room is half full or nobody is left to
be read first. So a night in which everything seems to be gone reaches the guard's early stop
without having read everybody twice (``doubt``).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from worker.core.confirmation import Removed, Unconfirmed, removed_by
from worker.core.guard import evidence_needed
from worker.core.model import AreaFailure, CompleteArea, FailureKind, PersonRead
from worker.core.value import Value
from worker.errors import WorkerError
from worker.ports import Runtime
from worker.sync.options import CONFIRM_AFTER_S, WAITING_MAX
from worker.sync.reading import PersonReader
from worker.sync.streams import send


class _Waiting(Value, frozen=True, kw_only=True):
    """A person with the time, on the monotonic clock, before which they are not read again."""

    due_s: float
    found: Unconfirmed


@dataclass(slots=True, kw_only=True)
class Confirmations:
    """Holds persons back until a second read has decided.

    Attributes:
        after_s: how long after the first read the second one is made, at least.
        waiting_max: so many persons wait at most, if each batch is no larger than ``room``.
    """

    reader: PersonReader
    runtime: Runtime
    after_s: float = CONFIRM_AFTER_S
    waiting_max: int = WAITING_MAX
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _claims: dict[str, Removed] = field(default_factory=dict)
    _confirmed: int = 0
    _contradicted: int = 0
    _under_way: int = 0
    _is_doubting: bool = False
    _is_complete: bool = False
    _is_abandoned: bool = False
    _changed: anyio.Event = field(default_factory=anyio.Event)

    # For the writer

    async def room(self) -> int:
        """How many persons the next batch may have; waits while it is none."""
        while len(self._waiting) >= self.waiting_max and not self._is_abandoned:
            await self._changed.wait()
        return self.waiting_max - len(self._waiting)

    def hold(self, found: Sequence[Unconfirmed]) -> None:
        """Let these persons wait for their second read. They are the writer's again after it."""
        due_s = self.runtime.monotonic() + self.after_s
        for one in found:
            self._claim(one, one.read)
        if not self._is_abandoned:
            self._waiting.extend(_Waiting(due_s=due_s, found=one) for one in found)
        self._notify()

    def written(self, batch: Sequence[PersonRead]) -> None:
        """These persons are in the store, and counted there."""
        for read in batch:
            self._claims.pop(read.person.person_key, None)

    @property
    def claims(self) -> Mapping[str, Removed]:
        """By person key, restrictions that are gone by reads not yet written.

        What a second read has contradicted, or could not confirm, is not among them.
        """
        return self._claims

    @property
    def is_believed(self) -> bool:
        """Whether enough second reads have agreed since ``doubt`` for all claims to count."""
        return self._is_doubting and self._confirmed >= evidence_needed(self._contradicted)

    def doubt(self) -> None:
        """So much is claimed that the run should stop, if it is true: find that out first.

        Until ``trust`` nobody begins a first read, and of the latest claims as many are confirmed
        as it takes to believe all.
        """
        if not self._is_doubting:
            self._is_doubting = True
            self._confirmed = self._contradicted = 0
            self._notify()

    def trust(self) -> None:
        """Go on as usual."""
        if self._is_doubting:
            self._is_doubting = False
            self._notify()

    def close(self) -> None:
        """Nobody will be held back any more; those who wait are read again now."""
        self._is_complete = True
        self._notify()

    # For those who read

    async def may_read_on(self) -> None:
        """Return when the next person may be read for the first time; at once, as a rule."""
        while self._is_doubting and not self._is_abandoned:
            await self._changed.wait()

    async def work(self, decided: MemoryObjectSendStream[PersonRead]) -> WorkerError | None:
        """Read persons again, one after the other, until nobody is left.

        Returns:
            An error if the run should end here.

        Raises:
            WorkerError: the run cannot go on.
        """
        while (waiting := await self._next()) is not None:
            while (left_s := waiting.due_s - self.runtime.monotonic()) > 0:
                await self.runtime.sleep(left_s)
            read, ending = await self.reader.read_again(waiting.found)
            self._under_way -= len(waiting.found.published)
            self._settle(waiting.found, read)
            if not await send(decided, read) or ending is not None:
                return ending
        return None

    def abandon(self) -> None:
        """Nobody reads any more. Who waits is not written; the next run reads them again."""
        self._is_abandoned = True
        self._waiting.clear()
        self._notify()

    async def _next(self) -> _Waiting | None:
        """The next person to be read again; None if there will be none."""
        while self._waiting or not self._is_complete:
            if self._waiting and self._is_time():
                # In doubt the latest: what made it so much may be of another kind than the rest.
                waiting = self._waiting.pop() if self._is_doubting else self._waiting.popleft()
                self._under_way += len(waiting.found.published)
                self._notify()
                return waiting
            await self._changed.wait()
        return None

    def _is_time(self) -> bool:
        if self._is_doubting:
            sample = self._confirmed + self._under_way
            return sample < evidence_needed(self._contradicted)
        return self._is_complete or len(self._waiting) > self.waiting_max // 2

    def _settle(self, found: Unconfirmed, read: PersonRead) -> None:
        self._claim(found, read)
        for area in read.areas:
            if area.area in found.published:
                self._confirmed += isinstance(area, CompleteArea)
                self._contradicted += (
                    isinstance(area, AreaFailure) and area.kind == FailureKind.UNSTABLE
                )
        self._notify()

    def _claim(self, found: Unconfirmed, read: PersonRead) -> None:
        key, gone = found.read.person.person_key, removed_by(found, read)
        self._claims.pop(key, None)
        if gone:
            self._claims[key] = gone

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
