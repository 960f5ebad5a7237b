"""Re-reading a sample of the roster from PTS, and what comes of the comparison (``verify``)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from worker.app import App
from worker.cli.progress import Shown
from worker.core.agreement import Difference, Sample, compare
from worker.core.breaker import Breaker
from worker.core.ending import nothing_was_read
from worker.core.identity import Identity, NationalId
from worker.core.model import CompleteArea, Person, PersonRead, RosterLineError
from worker.core.run import RunProgress
from worker.errors import RosterError, StoppedError, WorkerError
from worker.store.queries.sample import PublishedArea
from worker.sync.evidence import Evidence
from worker.sync.producer import PersonTask
from worker.sync.reading import PersonReader
from worker.sync.record_keys import KeyBook

PERSONS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One area of one person, to be read."""

    off_id: NationalId
    area: str


@dataclass(slots=True, kw_only=True)
class Draw:
    """The sample, and the roster that it was drawn from."""

    picks: Sequence[Pick] = ()
    entries: int = 0
    faults: int = 0
    not_sent: int = 0


async def draw(app: App, size: int) -> Draw:
    """Draw from the roster, which is the only place that knows the identifiers.

    Raises:
        RosterError: it cannot be read, or names nobody.
    """
    found = Draw()
    sample: Sample[Pick] = Sample(size, seed=app.runtime.new_id())
    async for entry in app.roster().entries():
        if isinstance(entry, RosterLineError):
            found.faults += 1
            continue
        found.entries += 1
        if entry.is_h_number and not app.sends_h_numbers:
            found.not_sent += 1
            continue
        for area in app.settings.sync.areas:
            pick = Pick(off_id=entry.off_id, area=area)
            sample.offer(f"{area} {entry.off_id.reveal()}", pick)
    if not found.entries:
        raise RosterError("the roster names nobody: not one identifier could be read")
    found.picks = sample.chosen()
    return found


async def reread(
    app: App,
    identity: Identity,
    picks: Sequence[Pick],
    keys: KeyBook,
    stop: anyio.Event,
    *,
    show: Shown | None = None,
) -> Sequence[PersonRead]:
    """Read the sample from PTS, in the way and at the pace of a run; ``show`` how far it is.

    Raises:
        WorkerError: not one could be read, HelseID or PTS failed for good, or a stop was asked for.
    """
    concurrency = min(app.settings.sync.concurrency, len(picks))
    progress = RunProgress()

    def tell(read: int) -> None:
        if show is not None:
            show(read, len(picks), progress.failures.total())

    throttle = app.throttle()
    async with app.reader(app.areas(), identity, throttle=throttle) as reader:
        pipeline = _Crew(
            reader=PersonReader(
                reader=reader,
                keys=keys,
                breaker=Breaker(),
                evidence=Evidence(
                    reader=reader, keys=keys, runtime=app.runtime, availability=throttle
                ),
                progress=progress,
                runtime=app.runtime,
            ),
            identity=identity,
            picks=iter(picks),
            tell=tell,
        )
        await pipeline.work(concurrency, stop)
    ending = pipeline.ending or nothing_was_read(progress.failures, progress.areas_complete)
    if ending is not None:
        raise ending
    return pipeline.reads


@dataclass(slots=True, kw_only=True)
class _Crew:
    """Several readers on one list, and the first reason for which they stop."""

    reader: PersonReader
    identity: Identity
    picks: Iterator[Pick]
    tell: Callable[[int], None]
    reads: list[PersonRead] = field(default_factory=list)
    ending: WorkerError | None = None

    async def work(self, readers: int, stop: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, stop, tasks.cancel_scope)
            tasks.start_soon(self.reader.evidence.watch)
            async with anyio.create_task_group() as reading:
                for _ in range(readers):
                    reading.start_soon(self._work, tasks.cancel_scope)
            tasks.cancel_scope.cancel()

    async def _watch(self, stop: anyio.Event, scope: anyio.CancelScope) -> None:
        await stop.wait()
        self.ending = self.ending or StoppedError("stopped on request; nothing was written")
        scope.cancel()

    async def _work(self, scope: anyio.CancelScope) -> None:
        for pick in self.picks:
            key = self.identity.person_key(pick.off_id)
            person = Person(off_id=pick.off_id, person_key=key)
            try:
                read, ending = await self.reader.read(PersonTask(person=person, areas=(pick.area,)))
            except WorkerError as error:
                read, ending = None, error
            if read is not None:
                self.reads.append(read)
                self.tell(len(self.reads))
            if ending is not None:
                self.ending = self.ending or ending
                scope.cancel()
                return


@dataclass(slots=True, kw_only=True)
class Kind:
    """One kind of difference in one area.

    Attributes:
        count: restrictions; for the kinds that concern a whole area, areas.
        of_incomplete: person-areas whose last published read had failed: known to be stale.
        persons: keys of the first of them.
    """

    count: int = 0
    person_areas: int = 0
    of_incomplete: int = 0
    persons: list[str] = field(default_factory=list)

    def add(self, person_key: str, count: int, *, is_incomplete: bool) -> None:
        """Count one area of one person."""
        self.count += count
        self.person_areas += 1
        self.of_incomplete += is_incomplete
        if len(self.persons) < PERSONS_SHOWN:
            self.persons.append(person_key)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was found in one area."""

    sampled: int = 0
    agree: int = 0
    unread: int = 0
    kinds: dict[Difference, Kind] = field(default_factory=dict)


def tallies(
    reads: Sequence[PersonRead], published: Mapping[tuple[str, str], PublishedArea]
) -> dict[str, Tally]:
    """The comparison of each read with what is published, by area."""
    found: dict[str, Tally] = {}
    for read in reads:
        for area in read.areas:
            key = read.person.person_key
            stored = published.get((key, area.area))
            tally = found.setdefault(area.area, Tally())
            tally.sampled += 1
            if isinstance(area, CompleteArea):
                hashes = {record.key: record.content_hash for record in area.records}
                differences = compare(None if stored is None else stored.records, hashes)
                tally.agree += not differences
            else:
                differences = Counter({Difference.UNREAD: 1})
                tally.unread += 1
            is_incomplete = stored is not None and not stored.is_complete
            for kind, count in differences.items():
                tally.kinds.setdefault(kind, Kind()).add(key, count, is_incomplete=is_incomplete)
    return found
