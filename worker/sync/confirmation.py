"""Holds persons until a second read confirms what the first one lacked (promise 1).

First reads have priority: second reads start when the queue is half full or all first reads are
done. If everything seems to be gone, the guard stops the run before everyone is read twice
(``doubt``).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from worker.core.confirmation import Unconfirmed, removed_by
from worker.core.guard import evidence_needed
from worker.core.model import AreaFailure, CompleteArea, FailureKind, PersonRead
from worker.core.value import Value
from worker.errors import WorkerError
from worker.ports import Runtime
from worker.sync.options import CONFIRM_AFTER_S, WAITING_MAX
from worker.sync.reading import PersonReader
from worker.sync.streams import send


class _Waiting(Value, frozen=True, kw_only=True):
    """A person, and the monotonic time of the earliest second read."""

    due_s: float
    unconfirmed: Unconfirmed


@dataclass(slots=True, kw_only=True)
class Confirmations:
    """Queues persons for a second read.

    Attributes:
        waiting_max: maximum queue length, if no batch is larger than ``room``.
    """

    reader: PersonReader
    runtime: Runtime
    after_s: float = CONFIRM_AFTER_S
    waiting_max: int = WAITING_MAX
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _claims: dict[str, int] = field(default_factory=dict)
    _confirmed: int = 0
    _contradicted: int = 0
    _under_way: int = 0
    _is_doubting: bool = False
    _is_complete: bool = False
    _is_abandoned: bool = False
    _changed: anyio.Event = field(default_factory=anyio.Event)

    # For the writer

    async def room(self) -> int:
        """Return the maximum size of the next batch; wait while the queue is full."""
        while len(self._waiting) >= self.waiting_max and not self._is_abandoned:
            await self._changed.wait()
        return self.waiting_max - len(self._waiting)

    def hold(self, unconfirmed: Sequence[Unconfirmed]) -> None:
        """Queue persons for a second read. ``work`` returns them to the writer."""
        due_s = self.runtime.monotonic() + self.after_s
        for item in unconfirmed:
            self._claim(item, item.read)
        if not self._is_abandoned:
            self._waiting.extend(_Waiting(due_s=due_s, unconfirmed=item) for item in unconfirmed)
        self._notify()

    def written(self, batch: Sequence[PersonRead]) -> None:
        """Drop the claims of persons that the store now counts."""
        for read in batch:
            self._claims.pop(read.person.person_key, None)

    @property
    def claims(self) -> Mapping[str, int]:
        """How many published restrictions unwritten reads lack, by person key.

        Excludes those that a second read contradicted or could not confirm.
        """
        return dict(self._claims)

    @property
    def is_believed(self) -> bool:
        """Whether enough second reads since ``doubt`` agreed that all claims count."""
        return self._is_doubting and self._confirmed >= evidence_needed(self._contradicted)

    def doubt(self) -> None:
        """Verify a sample of the claims, because they would stop the run if true.

        First reads pause until ``trust``. The latest claims are verified first, until the sample
        is large enough to decide about all of them.
        """
        if not self._is_doubting:
            self._is_doubting = True
            self._confirmed = self._contradicted = 0
            self._notify()

    def trust(self) -> None:
        """Resume first reads."""
        if self._is_doubting:
            self._is_doubting = False
            self._notify()

    def close(self) -> None:
        """Read everyone in the queue now; no more persons will be added."""
        self._is_complete = True
        self._notify()

    # For the readers

    async def may_read_on(self) -> None:
        """Wait until first reads are allowed; usually returns at once."""
        while self._is_doubting and not self._is_abandoned:
            await self._changed.wait()

    async def work(self, decided: MemoryObjectSendStream[PersonRead]) -> WorkerError | None:
        """Make second reads, one at a time, until the queue is closed and empty.

        Returns:
            An error if the run should end.

        Raises:
            WorkerError: the run cannot go on.
        """
        while (waiting := await self._next()) is not None:
            while (left_s := waiting.due_s - self.runtime.monotonic()) > 0:
                await self.runtime.sleep(left_s)
            read, ending = await self.reader.read_again(waiting.unconfirmed)
            self._under_way -= len(waiting.unconfirmed.published)
            self._settle(waiting.unconfirmed, read)
            if not await send(decided, read) or ending is not None:
                return ending
        return None

    def abandon(self) -> None:
        """Clear the queue without writing. The next run reads these persons again."""
        self._is_abandoned = True
        self._waiting.clear()
        self._notify()

    async def _next(self) -> _Waiting | None:
        """The next person to read again; None when the queue is closed and empty."""
        while self._waiting or not self._is_complete:
            if self._waiting and self._is_time():
                # In doubt, take the latest: the claims that raised the doubt may differ in kind.
                waiting = self._waiting.pop() if self._is_doubting else self._waiting.popleft()
                self._under_way += len(waiting.unconfirmed.published)
                self._notify()
                return waiting
            await self._changed.wait()
        return None

    def _is_time(self) -> bool:
        if self._is_doubting:
            sample = self._confirmed + self._under_way
            return sample < evidence_needed(self._contradicted)
        return self._is_complete or len(self._waiting) > self.waiting_max // 2

    def _settle(self, unconfirmed: Unconfirmed, read: PersonRead) -> None:
        self._claim(unconfirmed, read)
        for area in read.areas:
            if area.area in unconfirmed.published:
                self._confirmed += isinstance(area, CompleteArea)
                self._contradicted += (
                    isinstance(area, AreaFailure) and area.kind == FailureKind.UNSTABLE
                )
        self._notify()

    def _claim(self, unconfirmed: Unconfirmed, read: PersonRead) -> None:
        key, gone = unconfirmed.read.person.person_key, removed_by(unconfirmed, read)
        self._claims.pop(key, None)
        if gone:
            self._claims[key] = len(gone)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
