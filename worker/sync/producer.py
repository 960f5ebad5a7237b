"""Streams the roster as tasks, one for each person that a pass reads.

It is streamed again for each pass, so that no identifier is kept on the disk or in memory.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, TypeVar
from zlib import crc32

import anyio
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from worker.core.diff import Unconfirmed
from worker.core.identity import Identity
from worker.core.model import Person, RosterEntry, RosterLineError
from worker.core.run import PersonDraft, RunProgress
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
        first: the first reads of these areas, which a second one may confirm.
        failed: areas of which an earlier pass has written a failure.
    """

    person: Person
    areas: tuple[str, ...]
    first: Mapping[str, Unconfirmed] = {}
    failed: frozenset[str] = frozenset()


class Pass(Value, frozen=True, kw_only=True):
    """One pass over the roster.

    Attributes:
        number: 1, 2 or 3.
        areas: that are not given up.
        with_failures: failed reads are repeated.
    """

    number: int
    areas: Collection[str]
    with_failures: bool = True


class Producer(msgspec.Struct, kw_only=True):
    """Reads the roster and hands out tasks.

    Attributes:
        remember: called with each person of whom an earlier attempt has read an area, the area and
            the number of its records. They can serve as a canary.
        pending: tasks handed out but not committed, by person key. Together with the run's drafts
            they prevent duplicate reads of a person.
    """

    roster: Roster
    store: RunStore
    identity: Identity
    progress: RunProgress
    sends_h_numbers: bool
    remember: Callable[[Person, str, int], None]
    pending: dict[str, PersonTask] = msgspec.field(default_factory=dict)

    async def feed(self, tasks: MemoryObjectSendStream[PersonTask], pass_: Pass) -> None:
        """Send a task for each person that this pass reads.

        A person whom an earlier pass has read, and who is no longer on the roster, stays as
        published.

        Raises:
            RosterError: the roster cannot be read.
        """
        for half in self._halves(pass_):
            async with aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    if pass_.number == 1:
                        due = await self._take(chunk, pass_, half)
                    else:
                        due = await self._take_again(chunk, pass_)
                    for task in sorted(due, key=self._order):
                        self.pending[task.person.person_key] = task
                        await send(tasks, task)
                    await anyio.lowlevel.checkpoint()

    def _halves(self, pass_: Pass) -> Sequence[int | None]:
        """A run that is continued reads one half of its persons first, another one each time.

        So no person is always last: if one answer kills the process, the others are read all the
        same.
        """
        return (0, 1) if pass_.number == 1 and self.store.handle.is_continued else (None,)

    def _order(self, task: PersonTask) -> int:
        """The order within a chunk, which changes with each attempt, too."""
        return self._hash(task.person.person_key)

    def _hash(self, person_key: str) -> int:
        handle = self.store.handle
        return crc32(f"{handle.run_id} {handle.attempt} {person_key}".encode())

    async def _chunks(self) -> AsyncGenerator[Sequence[RosterEntry | RosterLineError], None]:
        chunk: list[RosterEntry | RosterLineError] = []
        async with aclosing(self.roster.entries()) as entries:
            async for entry in entries:
                chunk.append(entry)
                if len(chunk) >= CHUNK_PERSONS:
                    yield chunk
                    chunk = []
        yield chunk

    # --- the first pass ---

    async def _take(
        self, chunk: Sequence[RosterEntry | RosterLineError], pass_: Pass, half: int | None
    ) -> Sequence[PersonTask]:
        """The tasks of the persons of a chunk, or of one half of them."""
        persons = {person.person_key: person for person in self._sent(chunk)}
        for key in [*persons]:
            if key in self.pending or half not in {None, self._hash(key) % 2}:
                del persons[key]
        if half != 1:
            await self._count(chunk)
        tasks = await self._tasks(persons, pass_)
        self.progress.persons_asked += len(tasks)
        self.progress.persons_skipped += len(persons) - len(tasks)
        return tasks

    async def _count(self, chunk: Sequence[RosterEntry | RosterLineError]) -> None:
        """Count the lines of the roster, and mark the persons whom PTS must not be asked about."""
        not_sent: list[str] = []
        for entry in chunk:
            if isinstance(entry, RosterLineError):
                self._count_error(entry)
                continue
            person = self._person(entry)
            self._count_person(entry, person)
            if not self._is_sent(entry):
                not_sent.append(person.person_key)
        self.progress.persons_not_sent += len(not_sent)
        await self.store.not_sent(not_sent)

    def _sent(self, chunk: Sequence[RosterEntry | RosterLineError]) -> Iterator[Person]:
        """The persons of a chunk whom PTS is asked about; the first line of each counts."""
        for entry in reversed(chunk):
            if isinstance(entry, RosterEntry) and self._is_sent(entry):
                yield self._person(entry)

    async def _tasks(self, persons: Mapping[str, Person], pass_: Pass) -> Sequence[PersonTask]:
        drafts = await self.store.drafts([*persons.values()], pass_number=pass_.number)
        chosen = await self.store.chosen([*persons])
        tasks = []
        for key, person in persons.items():
            wanted = pass_.areas if chosen is None else chosen.get(key, frozenset())
            read = self._already_read(person, drafts.get(key))
            areas = tuple(area for area in pass_.areas if area in wanted and area not in read)
            if areas:
                tasks.append(PersonTask(person=person, areas=areas))
        return tasks

    def _already_read(self, person: Person, drafts: PersonDraft | None) -> Collection[str]:
        """Areas that this run has read, and those that this attempt failed to read."""
        if drafts is None:
            return ()
        is_own = drafts.pass_no >= self.store.handle.pass_no(1)
        read = []
        for area, draft in drafts.areas.items():
            is_read = draft.failure is None or draft.first is not None
            if is_read:
                self.remember(person, area, draft.records)
            if is_read or is_own:
                read.append(area)
        return read

    # --- the second and the third ---

    async def _take_again(
        self, chunk: Sequence[RosterEntry | RosterLineError], pass_: Pass
    ) -> Sequence[PersonTask]:
        persons = {person.person_key: person for person in self._sent(chunk)}
        for key in persons.keys() & self.pending.keys():
            del persons[key]
        drafts = await self.store.drafts([*persons.values()], pass_number=pass_.number)
        known = [(person, drafts[key]) for key, person in persons.items() if key in drafts]
        tasks = [self._task_again(person, draft, pass_) for person, draft in known]
        return [task for task in tasks if task.areas]

    def _task_again(self, person: Person, drafts: PersonDraft, pass_: Pass) -> PersonTask:
        is_done = drafts.pass_no >= self.store.handle.pass_no(pass_.number)
        due = {
            area: draft
            for area, draft in drafts.areas.items()
            if area in pass_.areas and draft.is_due(with_failures=pass_.with_failures)
        }
        return PersonTask(
            person=person,
            areas=() if is_done else tuple(area for area in pass_.areas if area in due),
            first={area: draft.first for area, draft in due.items() if draft.first is not None},
            failed=frozenset(area for area, draft in due.items() if draft.failure is not None),
        )

    # --- roster entries ---

    def _is_sent(self, entry: RosterEntry) -> bool:
        return self.sends_h_numbers or not entry.is_h_number

    def _person(self, entry: RosterEntry) -> Person:
        # Readers see both labels.
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
