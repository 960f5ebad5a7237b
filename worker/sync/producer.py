"""Streams the roster as tasks, one for each person that needs reading.

It is streamed twice if first reads wait for their second: nobody's identifier is kept, on the disk
or in memory.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final
from zlib import crc32

import anyio
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from worker.core.diff import Unconfirmed
from worker.core.identity import Identity
from worker.core.model import AreaFailure, Person, RosterEntry, RosterLineError
from worker.core.run import RunProgress
from worker.core.value import Value
from worker.errors import RosterError
from worker.offid import mask_identifiers
from worker.ports import Roster
from worker.store.runs.run_store import RunStore
from worker.sync.streams import send

log = structlog.get_logger(__name__)

ERRORS_LOGGED_MAX: Final = 50
CHUNK_PERSONS: Final = 250


class PersonTask(Value, frozen=True, kw_only=True):
    """A person and the areas to read of them.

    Attributes:
        first: the first reads of these areas, in the second pass.
        failed: what became of them when they were read before in this pass.
    """

    person: Person
    areas: tuple[str, ...]
    first: Mapping[str, Unconfirmed] = {}
    failed: Mapping[str, AreaFailure] = {}


class Producer(msgspec.Struct, kw_only=True):
    """Reads the roster and hands out tasks.

    Attributes:
        passed_over: called with each person and area already read, which can serve as a probe
            when PTS is in doubt.
        pending: keys handed out but not committed. Together with the run's rows in the store they
            prevent duplicate reads of a person.
        is_complete: the roster was read to its end without a bad line.
        has_tasks: someone was handed out.
    """

    roster: Roster
    store: RunStore
    identity: Identity
    progress: RunProgress
    sends_h_numbers: bool = False
    passed_over: Callable[[Person, str], None] = lambda _person, _area: None
    pending: set[str] = msgspec.field(default_factory=set)
    is_complete: bool = False
    has_tasks: bool = False

    async def feed(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        """Send a task for everyone who needs reading.

        Raises:
            RosterError: the roster cannot be read, or holds no identifier.
        """
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                await self._take(chunk, tasks)
        self._log_oddities()
        if not self.progress.persons_seen:
            raise RosterError(
                "the roster is empty: no identifier could be read",
                hint="check roster.path (a CSV with a column off_id, or one identifier a line)",
            )
        self.is_complete = not self.progress.roster_faults

    async def feed_again(self, tasks: MemoryObjectSendStream[PersonTask]) -> None:
        """Send a task for everyone whose first read waits for its second.

        Who is not on the roster any more stays as published.

        Raises:
            RosterError: the roster cannot be read.
        """
        left = await self.store.waiting()
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                entries = [entry for entry in chunk if isinstance(entry, RosterEntry)]
                left -= await self._hand_out_again([*map(self._person, entries)], tasks)
                if left <= 0:
                    return

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
            if entry.is_h_number and not self.sends_h_numbers:
                not_sent.append(person.person_key)
            else:
                persons.append(person)
        await self._hand_out(persons, tasks)
        if not_sent:
            self.progress.persons_not_sent += len(not_sent)
            await self.store.not_sent(not_sent)

    async def _hand_out_again(
        self, chunk: Sequence[Person], tasks: MemoryObjectSendStream[PersonTask]
    ) -> int:
        persons = {person.person_key: person for person in chunk}
        first = await self.store.unconfirmed([*persons.keys() - self.pending])
        for key in sorted(first, key=self._order):
            areas = tuple(area for area in self.store.handle.areas if area in first[key])
            self.pending.add(key)
            await send(tasks, PersonTask(person=persons[key], areas=areas, first=first[key]))
        await anyio.lowlevel.checkpoint()
        return len(first)

    def _person(self, entry: RosterEntry) -> Person:
        person = Person(off_id=entry.off_id, person_key=self.identity.person_key(entry.off_id))
        if entry.local_ref is None and entry.cohort is None:
            return person
        # Readers see both.
        local_ref, cohort = (
            label and mask_identifiers(label, entry.off_id.reveal())
            for label in (entry.local_ref, entry.cohort)
        )
        return msgspec.structs.replace(person, local_ref=local_ref, cohort=cohort)

    def _count_person(self, entry: RosterEntry, person: Person) -> None:
        self.progress.persons_seen += 1
        self.progress.checksum_warnings += not entry.checksum_ok
        self.progress.references_replaced += person.local_ref != entry.local_ref
        self.progress.cohorts_replaced += person.cohort != entry.cohort

    def _log_oddities(self) -> None:
        if self.progress.persons_not_sent:
            log.warning(
                "roster.h_numbers_not_sent",
                persons=self.progress.persons_not_sent,
                hint="only the organisation that assigned an H-number may use it; "
                "set roster.send_h_numbers to send them",
            )
        if self.progress.checksum_warnings:
            log.warning(
                "roster.wrong_control_digits",
                persons=self.progress.checksum_warnings,
                hint="PTS was asked about them all the same; if one is mistyped, the person who "
                "was meant has departed",
            )
        if self.progress.references_replaced:
            log.warning(
                "roster.local_ref_is_an_identifier",
                persons=self.progress.references_replaced,
                hint="readers can see local_ref, so the identifier in it was masked; use a "
                "reference that is not an identifier",
            )
        if self.progress.cohorts_replaced:
            log.warning(
                "roster.cohort_is_an_identifier",
                persons=self.progress.cohorts_replaced,
                hint="readers can see cohort, so the identifier in it was masked; name a clinic or "
                "department",
            )

    def _count_error(self, error: RosterLineError) -> None:
        self.progress.roster_faults += 1
        if not self.progress.first_roster_fault:
            self.progress.first_roster_fault = f"{error.where}: {error.problem}"
        if self.progress.roster_faults <= ERRORS_LOGGED_MAX:
            log.warning("roster.line_unreadable", where=error.where, problem=error.problem)
        if self.progress.roster_faults == ERRORS_LOGGED_MAX:
            log.warning("roster.more_lines_unreadable", hint="further lines are only counted")

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
        settled = await self.store.settled(list(new))
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
        self.has_tasks = self.has_tasks or bool(due)
        for task in due:
            self.pending.add(task.person.person_key)
            await send(tasks, task)
        await anyio.lowlevel.checkpoint()
