"""``verify``: reads a sample from PTS again and compares it with what was published."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import anyio
import structlog

from worker.app import App
from worker.core.agreement import Difference, Interval, Sample, compare, wilson
from worker.core.breaker import Breaker
from worker.core.ending import nothing_was_read
from worker.core.identity import Identity, NationalId, short_key
from worker.core.model import CompleteArea, Person, PersonRead, RosterLineError
from worker.core.run import RunProgress
from worker.core.value import Value
from worker.errors import RosterError, StoppedError, WorkerError
from worker.ports import Roster
from worker.store.database import Database
from worker.store.identity import see_identity
from worker.store.queries.sample import PublishedArea, forbid_writes, published_areas
from worker.store.queries.status import last_full_publication, lease_state
from worker.store.runs.ledger import key_paths
from worker.store.runs.quiet import refuse_during_quiet
from worker.sync.evidence import Evidence
from worker.sync.producer import PersonTask
from worker.sync.reading import PersonReader
from worker.sync.record_keys import KeyBook

_KEYS_MAX: Final = 10
"""How many person keys are shown for each kind of difference."""

OnProgress = Callable[[int, int, int], None]
"""Called with the number of areas read, their total, and the number of failures."""


class SampledRoster(Value, frozen=True, kw_only=True):
    """The roster that the sample was drawn from."""

    entries: int
    faults: int
    not_sent: int


class Published(Value, frozen=True, kw_only=True):
    """The last published full run, if there is one."""

    run_id: int | None
    published_at: datetime | None
    age_s: float | None


class DifferenceCount(Value, frozen=True, kw_only=True):
    """One kind of difference in one area.

    Attributes:
        count: restrictions; areas for the kinds that concern an area.
        of_incomplete: person-areas that are known to be stale, because their last read failed.
        persons: short keys of the first persons; empty in a store of plain identifiers.
    """

    kind: Difference
    count: int
    person_areas: int
    of_incomplete: int
    persons: Sequence[str]


class AreaAgreement(Value, frozen=True, kw_only=True):
    """The comparison of one area."""

    area: str
    sampled: int
    agree: int
    differences: Sequence[DifferenceCount]


class Verification(Value, frozen=True, kw_only=True):
    """The comparison of a sample with the published state, counted in areas of persons.

    Attributes:
        is_run_on: a run holds the lease.
        agreement: the share of ``agree`` in ``read``; ``None`` if nothing was read.
    """

    roster: SampledRoster
    published: Published
    is_run_on: bool
    sampled: int
    read: int
    unread: int
    agree: int
    agreement: Interval | None
    areas: Sequence[AreaAgreement]


async def verify(
    app: App,
    size: int,
    roster: Roster,
    *,
    stop: anyio.Event,
    on_progress: OnProgress | None,
) -> Verification:
    """Read a random sample from PTS and compare it with the published state. Writes nothing.

    Args:
        size: the most areas of persons to read.

    Raises:
        SchemaError: the database is missing, behind or ahead.
        RosterError: the roster cannot be read, or has no identifier.
        StoppedError: ``stop`` was set.
        UnavailableError: HelseID or PTS asked a run for a quiet that is not over.
        WorkerError: nothing could be read, or HelseID or PTS failed for good.
    """
    identity = app.identity()
    async with app.database(stop=stop) as store:
        forbid_writes(store)
        await refuse_during_quiet(store)
        identity = await see_identity(store, identity)
        is_run_on = await _is_run_on(store)
        keys = KeyBook(dict(await store.read(key_paths)))
        sampled_roster, tasks = await _draw(app, roster, identity, size)
        reads = await _read(app, identity, tasks, keys, stop=stop, on_progress=on_progress)
        # Queried after the reads, so that what a run publishes meanwhile is no difference.
        persons = sorted({read.person.person_key for read in reads})
        published = await published_areas(store, persons)
        last = await store.read(last_full_publication)
    areas = _compare(reads, published, is_plain=identity.mode == "plain")
    sampled, agree = sum(area.sampled for area in areas), sum(area.agree for area in areas)
    kinds = [difference for area in areas for difference in area.differences]
    unread = sum(found.count for found in kinds if found.kind == Difference.UNREAD)
    published_at = last.published_at if last else None
    return Verification(
        roster=sampled_roster,
        published=Published(
            run_id=last.run_id if last else None,
            published_at=published_at,
            age_s=(app.runtime.now() - published_at).total_seconds() if published_at else None,
        ),
        is_run_on=is_run_on,
        sampled=sampled,
        read=sampled - unread,
        unread=unread,
        agree=agree,
        agreement=wilson(agree, sampled - unread),
        areas=areas,
    )


async def _is_run_on(store: Database) -> bool:
    lease = await lease_state(store)
    is_run_on = lease is not None and not lease.is_dead
    if is_run_on:
        structlog.get_logger(__name__).warning(
            "verify.beside_a_run",
            hint="each of them sends up to sync.requests_per_second; lower it for this command "
            "with --requests-per-second",
        )
    return is_run_on


async def _draw(
    app: App, roster: Roster, identity: Identity, size: int
) -> tuple[SampledRoster, Sequence[PersonTask]]:
    """Draw areas of persons from the roster, because only the roster has the identifiers.

    Raises:
        RosterError: it cannot be read, or has no identifier.
    """
    entries = faults = not_sent = 0
    sample: Sample[tuple[NationalId, str]] = Sample(size, seed=app.runtime.new_id())
    async for entry in roster.entries():
        if isinstance(entry, RosterLineError):
            faults += 1
            continue
        entries += 1
        if entry.is_h_number and not app.sends_h_numbers:
            not_sent += 1
            continue
        for area in app.settings.sync.areas:
            sample.offer(f"{area} {entry.off_id.reveal()}", (entry.off_id, area))
    if not entries:
        raise RosterError("the roster has no entry: no identifier could be read")
    tasks = [
        PersonTask(
            person=Person(off_id=off_id, person_key=identity.person_key(off_id)), areas=(area,)
        )
        for off_id, area in sample.chosen()
    ]
    return SampledRoster(entries=entries, faults=faults, not_sent=not_sent), tasks


async def _read(
    app: App,
    identity: Identity,
    tasks: Sequence[PersonTask],
    keys: KeyBook,
    *,
    stop: anyio.Event,
    on_progress: OnProgress | None,
) -> Sequence[PersonRead]:
    """Read the sample like a run does, at the same rate."""
    progress = RunProgress()
    throttle = app.throttle()

    def done(count: int) -> None:
        if on_progress is not None:
            on_progress(count, len(tasks), progress.failures.total())

    async with app.reader(app.areas(), app.privacy(identity), throttle=throttle) as reader:
        person_reader = PersonReader(
            reader=reader,
            keys=keys,
            breaker=Breaker(),
            evidence=Evidence(reader=reader, keys=keys, runtime=app.runtime, availability=throttle),
            progress=progress,
            runtime=app.runtime,
        )
        concurrency = min(app.settings.sync.concurrency, len(tasks))
        reads, ending = await _read_tasks(person_reader, iter(tasks), concurrency, stop, done)
    ending = ending or nothing_was_read(progress.failures, progress.areas_complete)
    if ending is not None:
        raise ending
    return reads


async def _read_tasks(
    reader: PersonReader,
    tasks: Iterator[PersonTask],
    concurrency: int,
    stop: anyio.Event,
    done: Callable[[int], None],
) -> tuple[Sequence[PersonRead], WorkerError | None]:
    """All reads, and the first error that ended them early."""
    reads: list[PersonRead] = []
    endings: list[WorkerError] = []

    async with anyio.create_task_group() as group:

        def end(error: WorkerError) -> None:
            endings.append(error)
            group.cancel_scope.cancel()

        async def stop_on_request() -> None:
            await stop.wait()
            end(StoppedError("stopped on request; nothing was written"))

        async def read_persons() -> None:
            for task in tasks:
                try:
                    read, ending = await reader.read(task)
                except WorkerError as error:
                    end(error)
                    return
                reads.append(read)
                done(len(reads))
                if ending is not None:
                    end(ending)
                    return

        group.start_soon(stop_on_request)
        group.start_soon(reader.evidence.watch)
        async with anyio.create_task_group() as readers:
            for _ in range(concurrency):
                readers.start_soon(read_persons)
        group.cancel_scope.cancel()
    return reads, endings[0] if endings else None


class _Compared(Value, frozen=True, kw_only=True):
    """One area of one person."""

    person_key: str
    is_stale: bool
    differences: Counter[Difference]


def _compare(
    reads: Sequence[PersonRead],
    published: Mapping[tuple[str, str], PublishedArea],
    *,
    is_plain: bool,
) -> Sequence[AreaAgreement]:
    compared: dict[str, list[_Compared]] = {}
    for read in reads:
        for area in read.areas:
            stored = published.get((read.person.person_key, area.area))
            differences = Counter({Difference.UNREAD: 1})
            if isinstance(area, CompleteArea):
                hashes = {record.key: record.content_hash for record in area.records}
                differences = compare(None if stored is None else stored.records, hashes)
            compared.setdefault(area.area, []).append(
                _Compared(
                    person_key=read.person.person_key,
                    is_stale=stored is not None and not stored.is_complete,
                    differences=differences,
                )
            )
    return [
        AreaAgreement(
            area=area,
            sampled=len(found),
            agree=sum(not item.differences for item in found),
            differences=[
                _count(kind, found, is_plain=is_plain)
                for kind in sorted({kind for item in found for kind in item.differences})
            ],
        )
        for area, found in sorted(compared.items())
    ]


def _count(kind: Difference, compared: Sequence[_Compared], *, is_plain: bool) -> DifferenceCount:
    found = [item for item in compared if kind in item.differences]
    return DifferenceCount(
        kind=kind,
        count=sum(item.differences[kind] for item in found),
        person_areas=len(found),
        of_incomplete=sum(item.is_stale for item in found),
        persons=[] if is_plain else [short_key(item.person_key) for item in found[:_KEYS_MAX]],
    )
