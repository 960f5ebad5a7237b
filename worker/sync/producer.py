"""Streams the roster as tasks, one for each person that needs reading.

It is streamed twice if first reads wait for their second: nobody's identifier is kept, on the disk
or in memory.
"""

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, TypeVar
from zlib import crc32

import anyio
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from worker.core.diff import Unconfirmed
from worker.core.identity import Identity
from worker.core.model import AreaFailure, Person, RosterEntry, RosterLineError
from worker.core.run import RunProgress
from worker.core.value import Value
from worker.masking import mask_identifiers
from worker.ports import Roster
from worker.store.runs.run_store import RunStore

log = structlog.get_logger(__name__)

ERRORS_LOGGED_MAX: Final = 50
"""Lines of the roster that cannot be read; the summary has their number."""
CHUNK_PERSONS: Final = 250

T = TypeVar("T")


class PersonTask(Value, frozen=True, kw_only=True):
    """A person and the areas to read of them.

    Attributes:
        first: the first reads of these areas, in the second pass.
        failed: what became of them when they were read before in this pass.
        due_s: when PTS wants to be asked for the person, in monotonic seconds.
    """

    person: Person
    areas: tuple[str, ...]
    first: Mapping[str, Unconfirmed] = {}
    failed: Mapping[str, AreaFailure] = {}
    due_s: float = -math.inf


class Producer(msgspec.Struct, kw_only=True):
    """Reads the roster and hands out tasks.

    Attributes:
        passed_over: called with each person and area already read, which can serve as a probe
            when PTS is in doubt.
        pending: keys handed out but not committed. Together with the run's rows in the store they
            prevent duplicate reads of a person.
    """

    roster: Roster
    store: RunStore
    identity: Identity
    progress: RunProgress
    sends_h_numbers: bool
    passed_over: Callable[[Person, str], None]
    pending: set[str] = msgspec.field(default_factory=set)

    async def feed(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        """Send a task for everyone who needs reading.

        Raises:
            RosterError: the roster cannot be read, or holds no identifier.
        """
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                await self._take(chunk, tasks)

    async def feed_again(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        """Send a task for everyone whose first read waits for its second.

        Persons who are not on the roster any more stay as published.

        Raises:
            RosterError: the roster cannot be read.
        """
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                entries = [entry for entry in chunk if isinstance(entry, RosterEntry)]
                persons = [self._person(entry) for entry in entries if self._is_sent(entry)]
                await self._hand_out_again(persons, tasks)

    async def _chunks(self) -> AsyncGenerator[Sequence[RosterEntry | RosterLineError], None]:
        chunk: list[RosterEntry | RosterLineError] = []
        async with aclosing(self.roster.entries()) as entries:
            async for entry in entries:
                chunk.append(entry)
                if len(chunk) >= CHUNK_PERSONS:
                    yield chunk
                    chunk = []
        yield chunk

    async def _take(
        self,
        chunk: Sequence[RosterEntry | RosterLineError],
        tasks: MemoryObjectSendStream[PersonTask],
    ) -> None:
        """Count what the roster says, and hand out the persons."""
        persons: list[Person] = []
        not_sent: list[str] = []
        for entry in chunk:
            if isinstance(entry, RosterLineError):
                self._count_error(entry)
                continue
            person = self._person(entry)
            self._count_person(entry, person)
            if self._is_sent(entry):
                persons.append(person)
            else:
                not_sent.append(person.person_key)
        await self._hand_out(persons, tasks)
        if not_sent:
            self.progress.persons_not_sent += len(not_sent)
            await self.store.not_sent(not_sent)

    async def _hand_out_again(
        self, chunk: Sequence[Person], tasks: MemoryObjectSendStream[PersonTask]
    ) -> None:
        persons = {person.person_key: person for person in chunk}
        first = await self.store.unconfirmed([*persons.keys() - self.pending])
        due = []
        for key in sorted(first, key=self._order):
            areas = tuple(area for area in self.store.handle.areas if area in first[key])
            due.append(PersonTask(person=persons[key], areas=areas, first=first[key]))
        await self._send(due, tasks)

    def _is_sent(self, entry: RosterEntry) -> bool:
        return self.sends_h_numbers or not entry.is_h_number

    def _person(self, entry: RosterEntry) -> Person:
        # Readers see both.
        local_ref, cohort = (
            label and mask_identifiers(label, entry.off_id.reveal())
            for label in (entry.local_ref, entry.cohort)
        )
        return Person(
            person_key=self.identity.person_key(entry.off_id),
            off_id=entry.off_id,
            local_ref=local_ref,
            cohort=cohort,
        )

    def _count_person(self, entry: RosterEntry, person: Person) -> None:
        self.progress.persons_seen += 1
        self.progress.checksum_warnings += not entry.checksum_ok
        labels = (entry.local_ref, entry.cohort)
        self.progress.labels_replaced += (person.local_ref, person.cohort) != labels

    def _count_error(self, error: RosterLineError) -> None:
        self.progress.roster_faults += 1
        if not self.progress.first_roster_fault:
            self.progress.first_roster_fault = f"{error.where}: {error.problem}"
        if self.progress.roster_faults <= ERRORS_LOGGED_MAX:
            log.warning("roster.line_unreadable", where=error.where, problem=error.problem)

    def _order(self, person_key: str) -> int:
        """A sort key that changes with each run attempt, so that no person is always last."""
        handle = self.store.handle
        return crc32(f"{handle.run_id} {handle.attempt} {person_key}".encode())

    async def _hand_out(
        self, chunk: Sequence[Person], tasks: MemoryObjectSendStream[PersonTask]
    ) -> None:
        new: dict[str, Person] = {}
        for person in chunk:
            if person.person_key not in self.pending:
                new.setdefault(person.person_key, person)
        settled = await self.store.settled([*new.values()])
        chosen = await self.store.chosen(list(new))
        every = self.store.handle.areas
        due: list[PersonTask] = []
        for key in sorted(new, key=self._order):
            done = settled.get(key, frozenset())
            wanted = every if chosen is None else chosen.get(key, frozenset())
            areas = tuple(area for area in every if area in wanted and area not in done)
            for area in every:
                if area not in areas:
                    self.passed_over(new[key], area)
            if areas:
                due.append(PersonTask(person=new[key], areas=areas))
            else:
                self.progress.persons_skipped += 1
        await self._send(due, tasks)

    async def _send(
        self, due: Sequence[PersonTask], tasks: MemoryObjectSendStream[PersonTask]
    ) -> None:
        for task in due:
            self.pending.add(task.person.person_key)
            await send(tasks, task)
        await anyio.lowlevel.checkpoint()


async def send(stream: MemoryObjectSendStream[T], item: T) -> bool:
    """Send an item, waiting for room; ``False`` if the receiving end is closed.

    anyio's own ``send`` and ``receive`` always yield to the event loop, for each item.
    """
    try:
        try:
            stream.send_nowait(item)
        except anyio.WouldBlock:
            await stream.send(item)
    except anyio.BrokenResourceError:
        return False
    return True


async def receive(stream: MemoryObjectReceiveStream[T]) -> T | None:
    """Receive the next item; ``None`` if the sending end is closed and the buffer empty."""
    try:
        try:
            return stream.receive_nowait()
        except anyio.WouldBlock:
            return await stream.receive()
    except anyio.EndOfStream:
        return None
