"""Streams the roster as tasks, one for each person that a pass reads.

Each pass streams the roster again, so that no identifier is kept on disk or in memory.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple, TypeGuard
from zlib import crc32

import msgspec
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from worker.core.breaker import Breaker
from worker.core.identity import Identity
from worker.core.model import Person, RosterEntry, RosterLineError
from worker.core.run import AreaDraft, Pass, PersonDraft, RunProgress, add_place
from worker.core.value import Value
from worker.masking import mask_identifiers
from worker.ports import Roster
from worker.store.runs.run_store import RunStore

log = structlog.get_logger(__name__)

ERRORS_LOGGED_MAX: Final = 50
"""Maximum number of roster errors to log. The summary has the total."""
CHUNK_PERSONS: Final = 250


class PersonTask(Value, frozen=True, kw_only=True):
    """A person and the areas to read.

    Attributes:
        areas: the areas to read, with their drafts.
        gaps: all areas that an earlier pass of this attempt could not read.
    """

    person: Person
    areas: Mapping[str, AreaDraft]
    gaps: frozenset[str] = frozenset()


class _Line(NamedTuple):
    """A line of the roster that is sent to PTS, with its person."""

    entry: RosterEntry
    person: Person


class Producer(msgspec.Struct, kw_only=True):
    """Reads the roster and hands out tasks.

    Attributes:
        breakers: circuit breakers by area. A person read in an earlier attempt becomes the canary.
        pending: tasks handed out but not committed, by person key. Together with the run's drafts
            they prevent duplicate reads of a person.
        not_sent: keys of the persons with an identifier that is not sent.
    """

    roster: Roster
    store: RunStore
    identity: Identity
    progress: RunProgress
    sends_h_numbers: bool
    breakers: Mapping[str, Breaker]
    pending: dict[str, PersonTask] = msgspec.field(default_factory=dict)
    not_sent: set[str] = msgspec.field(default_factory=set)

    async def feed(self, tasks: MemoryObjectSendStream[PersonTask], pass_: Pass) -> None:
        """Send a task for each person that this pass reads.

        Raises:
            RosterError: the roster cannot be read.
        """
        for half in self._halves(pass_):
            async with aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    if _counts_lines(pass_, half):
                        await self._count_lines(chunk)
                    for task in await self._tasks(chunk, pass_, half):
                        # Before the send, because a reader may finish before this task runs again.
                        self.pending[task.person.person_key] = task
                        await tasks.send(task)

    def _halves(self, pass_: Pass) -> Sequence[int | None]:
        """The halves in which this pass reads the roster, or None for all persons at once.

        A resumed run is split differently in each attempt. So if the response for one person always
        crashes the process, each attempt still reads other persons before it.
        """
        return (0, 1) if pass_.number == 1 and self.store.handle.is_continued else (None,)

    async def _chunks(self) -> AsyncGenerator[Sequence[RosterEntry | RosterLineError], None]:
        chunk: list[RosterEntry | RosterLineError] = []
        async with aclosing(self.roster.entries()) as entries:
            async for entry in entries:
                chunk.append(entry)
                if len(chunk) >= CHUNK_PERSONS:
                    yield chunk
                    chunk = []
        yield chunk

    # --- tasks ---

    async def _tasks(
        self, chunk: Sequence[RosterEntry | RosterLineError], pass_: Pass, half: int | None
    ) -> Sequence[PersonTask]:
        """The tasks for the persons of a chunk, or for one half of them."""
        lines = [_Line(entry, self._person(entry)) for entry in chunk if self._is_sent(entry)]
        if half is not None:
            lines = [line for line in lines if self._hash(line.person) % 2 == half]
        # Copied before any await, because the writer removes tasks.
        pending = dict(self.pending)
        persons = [
            person for person in _distinct_persons(lines) if person.person_key not in pending
        ]
        drafts = await self.store.drafts(persons, pass_number=pass_.number)
        selected = await self._selected_areas(persons, pass_)
        all_tasks = [
            self._task(person, drafts.get(person.person_key), pass_, selected[person.person_key])
            for person in persons
        ]
        tasks = [task for task in all_tasks if task.areas]
        if pass_.number == 1:
            self.progress.persons_requested += len(tasks)
            self.progress.persons_skipped += len(all_tasks) - len(tasks)
            # Of this half only: the drafts of the other half, with its cohorts, were not loaded.
            self._count_other_cohorts(lines, self._earlier_cohorts(pending, drafts))
        return sorted(tasks, key=lambda task: self._hash(task.person))

    async def _selected_areas(
        self, persons: Sequence[Person], pass_: Pass
    ) -> Mapping[str, Collection[str]]:
        """The areas that this run may read, by person key.

        A backfill selects areas in the first pass. Later passes repeat only its reads.
        """
        keys = [person.person_key for person in persons]
        selected = await self.store.selected_areas(keys) if pass_.number == 1 else None
        return dict.fromkeys(keys, pass_.areas) if selected is None else selected

    def _hash(self, person: Person) -> int:
        """The sort key of a person, which is different in each attempt."""
        handle = self.store.handle
        return crc32(f"{handle.run_id} {handle.attempt} {person.person_key}".encode())

    def _task(
        self, person: Person, draft: PersonDraft | None, pass_: Pass, selected: Collection[str]
    ) -> PersonTask:
        drafts = {} if draft is None else draft.areas
        # The first pass has no gaps, because it reads the failures of an earlier attempt again.
        gaps = frozenset[str]()
        if pass_.number == 1:
            self._remember_canary(person, drafts)
        else:
            gaps = frozenset(area for area, read in drafts.items() if read.failure is not None)
        due = {area: read for area, read in pass_.due(draft).items() if area in selected}
        return PersonTask(person=person, areas=due, gaps=gaps)

    def _remember_canary(self, person: Person, drafts: Mapping[str, AreaDraft]) -> None:
        for area, read in drafts.items():
            if read.is_read:
                self.breakers[area].remember(person, read.records)

    # --- roster entries ---

    def _earlier_cohorts(
        self, pending: Mapping[str, PersonTask], drafts: Mapping[str, PersonDraft]
    ) -> dict[str, str | None]:
        """The cohort of each person on an earlier line of the roster, by person key."""
        first_no = self.store.handle.pass_no(1)
        read = {key: draft.cohort for key, draft in drafts.items() if draft.pass_no >= first_no}
        return read | {key: task.person.cohort for key, task in pending.items()}

    def _count_other_cohorts(self, lines: Sequence[_Line], cohorts: dict[str, str | None]) -> None:
        """Count the lines that give a person of an earlier line another cohort."""
        for line in lines:
            cohort = line.person.cohort
            if cohort != cohorts.setdefault(line.person.person_key, cohort):
                self.progress.other_cohorts += 1
                add_place(self.progress.first_other_cohorts, line.entry.where)

    async def _count_lines(self, chunk: Sequence[RosterEntry | RosterLineError]) -> None:
        """Count the lines of the roster, and mark persons with an identifier that is not sent."""
        not_sent: set[str] = set()
        for entry in chunk:
            if isinstance(entry, RosterLineError):
                self._count_error(entry)
                continue
            person = self._person(entry)
            self._count_person(entry, person)
            if not self._is_sent(entry):
                not_sent.add(person.person_key)
        # A roster can name a person on several lines, and the store has no unsent persons to
        # compare with. The set is small, because few patients have an H-number.
        not_sent -= self.not_sent
        self.not_sent |= not_sent
        self.progress.persons_not_sent = len(self.not_sent)
        await self.store.mark_not_sent(sorted(not_sent))

    def _count_person(self, entry: RosterEntry, person: Person) -> None:
        self.progress.persons_seen += 1
        # A mistyped identifier does harm only if PTS is asked about it.
        if self._is_sent(entry) and not entry.checksum_ok:
            self.progress.checksum_warnings += 1
            add_place(self.progress.first_checksum_warnings, entry.where)
        labels = (entry.local_ref, entry.cohort)
        self.progress.labels_replaced += (person.local_ref, person.cohort) != labels

    def _count_error(self, error: RosterLineError) -> None:
        self.progress.roster_faults += 1
        if not self.progress.first_roster_fault:
            self.progress.first_roster_fault = f"{error.where}: {error.problem}"
        if self.progress.roster_faults <= ERRORS_LOGGED_MAX:
            log.warning("roster.line_unreadable", where=error.where, problem=error.problem)

    def _is_sent(self, entry: RosterEntry | RosterLineError) -> TypeGuard[RosterEntry]:
        return isinstance(entry, RosterEntry) and (self.sends_h_numbers or not entry.is_h_number)

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


def _distinct_persons(lines: Iterable[_Line]) -> Iterable[Person]:
    """Each person once, as on their first line."""
    persons: dict[str, Person] = {}
    for line in lines:
        persons.setdefault(line.person.person_key, line.person)
    return persons.values()


def _counts_lines(pass_: Pass, half: int | None) -> bool:
    """Whether this reading of the roster counts its lines. Later ones stream the same lines."""
    return pass_.number == 1 and half != 1
