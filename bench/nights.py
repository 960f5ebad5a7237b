"""Whole nights through the real store, without PTS: what is timed is the store alone.

The answers are made up, read by the worker's own ``PtsReader``, and given to the worker's own
writer and publisher in the order in which a run does it, but one after another.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

import msgspec
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.people import answer, off_id
from worker.config.contract_file import load_contract
from worker.core.area import AREAS, area_named
from worker.core.diff import Confirm, confirmed
from worker.core.guard import GuardLimits
from worker.core.identity import NationalId, PseudonymKey, pseudonymous
from worker.core.model import CompleteArea, Person, PersonRead, RunKind
from worker.core.run import PersonDraft, RunProgress
from worker.http.response import HttpResponse
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import Request, RetryingClient
from worker.store.database import Database
from worker.store.identity import establish_identity
from worker.store.runs.lease import held_lease
from worker.store.runs.run_store import RunStore, open_run_store
from worker.sync.pipeline import BATCH_PERSONS
from worker.sync.producer import CHUNK_PERSONS

LEARN: Final = 10
"""Autovacuum looks again when a tenth of a table has changed."""
_CHUNK: Final = 1_000

_KEY: Final = PseudonymKey(bytes(7 * n * n % 251 for n in range(32)))
_LIMITS: Final = GuardLimits(max_removed_share=0.1, min_completeness=0.5, accept_removals=False)
_CONTRACT: Final = load_contract(None)
_AREA_OF: Final = {declared.path: name for name, declared in _CONTRACT.items()}

Answers = Callable[[str, str, int, int], bytes]
"""What PTS answers, as ``people.answer``: area, identifier, generation, change in per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of a publication, and its time."""

    sql: str
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What a night took the store.

    Attributes:
        begin_s: lease, identity, and the counts that the guard starts from.
        look_s: asking which persons are settled.
        write_s: the batches.
        publish_s: the publication.
        statements: those of the publication.
        rows: written versions, opened and closed.
    """

    persons: int
    begin_s: float
    look_s: float
    write_s: float
    publish_s: float
    statements: tuple[Statement, ...]
    rows: int


@dataclass(slots=True, kw_only=True)
class _MadeUp:
    """In the place of the sender: answers at once."""

    answers: Answers
    generation: int
    change_percent: int

    def reserve_memory(self) -> nullcontext[None]:
        """Answers take no room that is limited."""
        return nullcontext()

    async def send(self, request: Request) -> HttpResponse:
        person = msgspec.json.decode(request.body)["offId"]
        area = _AREA_OF[request.url]
        content = self.answers(area, person, self.generation, self.change_percent)
        kind = {"content-type": ("application/json",)}
        return HttpResponse(status=200, headers=kind, body=content)


@dataclass(slots=True)
class Watch:
    """Sums up the time of the blocks that it is held over."""

    total_s: float = 0.0

    def __enter__(self) -> None:
        self.total_s -= time.perf_counter()

    def __exit__(self, *_exc: object) -> None:
        self.total_s += time.perf_counter()


@dataclass(slots=True)
class _Recorder:
    statements: list[Statement] = field(default_factory=list)
    _began_s: float = 0.0

    def before(self, *_call: Any) -> None:
        self._began_s = time.perf_counter()

    def after(self, _connection: Any, _cursor: Any, sql: str, *_more: Any) -> None:
        took_s = time.perf_counter() - self._began_s
        self.statements.append(Statement(sql=sql, took_s=took_s))


@contextmanager
def recorded(database: Database) -> Iterator[list[Statement]]:
    """The statements that are executed inside."""
    recorder, engine = _Recorder(), database.engine.sync_engine
    hooks = {"before_cursor_execute": recorder.before, "after_cursor_execute": recorder.after}
    for name, hook in hooks.items():
        event.listen(engine, name, hook)
    try:
        yield recorder.statements
    finally:
        for name, hook in hooks.items():
            event.remove(engine, name, hook)


async def night(
    database: Database,
    persons: int,
    *,
    generation: int,
    change_percent: int = 1,
    learns: bool = True,
    answers: Answers = answer,
    cohorts: int = 0,
) -> Night:
    """Write everyone and publish.

    Args:
        database: at the program's schema.
        persons: how many.
        generation: 0 is the first night.
        change_percent: how many persons differ from the night before.
        learns: PostgreSQL's statistics keep up, as autovacuum does it by itself in a night of
            hours. This one takes seconds.
        answers: what PTS answers.
        cohorts: among how many the persons are divided; 0: they have none.
    """
    begin, look, write, publish = Watch(), Watch(), Watch(), Watch()
    async with _store(database, begin) as store:
        reader = PtsReader(
            areas=AREAS,
            base_url="",
            client=cast(
                "RetryingClient",
                _MadeUp(answers=answers, generation=generation, change_percent=change_percent),
            ),
            runtime=database.runtime,
            contract=_CONTRACT,
        )
        for first in range(0, persons, _CHUNK):
            numbers = range(first, min(first + _CHUNK, persons))
            reads = await _reads(reader, numbers, cohorts)
            with look:
                for some in _slices(reads, CHUNK_PERSONS):
                    await store.drafts([read.person for read in some], pass_number=1)
            with write:
                for some in _slices(reads, BATCH_PERSONS):
                    await _apply(store, some)
            if learns and (first + _CHUNK) * LEARN // persons > first * LEARN // persons:
                await _learn(database)
        with recorded(database) as statements, publish:
            done = await store.publish(
                _LIMITS,
                is_full_roster=True,
                progress=RunProgress(),
            )
    return Night(
        persons=persons,
        begin_s=begin.total_s,
        look_s=look.total_s,
        write_s=write.total_s,
        publish_s=publish.total_s,
        statements=tuple(statements),
        rows=sum(done.totals[name] for name in ("rows_opened", "rows_changed", "rows_closed")),
    )


async def _apply(store: RunStore, reads: Sequence[PersonRead]) -> None:
    """Write them, some after a second read that holds the same."""
    waiting = await store.write_reads(reads)
    if waiting:
        again = [read for read in reads if read.person.person_key in waiting]
        drafts = await store.drafts([read.person for read in again], pass_number=2)
        await store.write_reads(
            [_read_again(read, drafts[read.person.person_key], store.confirm) for read in again],
            pass_number=2,
        )


def _read_again(read: PersonRead, draft: PersonDraft, confirm: Confirm) -> PersonRead:
    areas = [
        confirmed(area_named(area.area), first, area, confirm)
        for area in read.areas
        if isinstance(area, CompleteArea) and (first := draft.areas[area.area].first)
    ]
    return PersonRead(person=read.person, areas=tuple(areas))


@asynccontextmanager
async def _store(database: Database, begin: Watch) -> AsyncIterator[RunStore]:
    """The store of a new run, as ``worker.cli.run_sync`` opens it."""
    async with AsyncExitStack() as stack:
        with begin:
            lease = await stack.enter_async_context(held_lease(database))
            await establish_identity(lease, pseudonymous(_KEY))
            store = await open_run_store(
                lease,
                kind=RunKind.SYNC,
                areas=tuple(area.name for area in AREAS),
                terms="",
                continue_within=timedelta(0),
            )
        yield store


async def _learn(database: Database) -> None:
    if not database.is_file:

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(text("ANALYZE"))

        await database.write(work)


def _slices(reads: Sequence[PersonRead], size: int) -> Iterator[Sequence[PersonRead]]:
    for first in range(0, len(reads), size):
        yield reads[first : first + size]


async def _reads(reader: PtsReader, numbers: range, cohorts: int) -> Sequence[PersonRead]:
    reads = []
    for number in numbers:
        identifier = NationalId(off_id(number))
        person = Person(
            off_id=identifier,
            person_key=_KEY.pseudonym(identifier),
            local_ref=f"L{number:07d}",
            cohort=f"Clinic {number % cohorts}" if cohorts else None,
        )
        areas = [await reader.read(person, area.name) for area in AREAS]
        reads.append(PersonRead(person=person, areas=tuple(areas)))
    return reads
