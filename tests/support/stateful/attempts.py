"""One process's run attempt, made as the program makes it: over the store's entry points."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.clock import FakeRuntime
from tests.support.databases import by_our_clock
from tests.support.model.guard import Guard
from tests.support.pts_answers import CONTRACT
from tests.support.stateful.source import BASE_URL, Source
from worker.areas import AREAS
from worker.core.breaker import Breaker
from worker.core.confirmation import Unconfirmed
from worker.core.guard import GuardLimits
from worker.core.identity import NationalId, PseudonymKey
from worker.core.model import Person, PersonRead, RunKind
from worker.core.run import Publication, RunHandle, RunProgress
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient
from worker.pts.throttle import Throttle
from worker.runtime import real_runtime
from worker.store.database import Database, open_database
from worker.store.runs.lease import Lease, acquire
from worker.store.runs.process_identity import Holder
from worker.store.runs.run_store import SqlRunStore, open_run_store
from worker.store.schema.tables import lease as lease_table
from worker.store.schema.tables import metadata, store_identity
from worker.sync.evidence import Evidence
from worker.sync.producer import PersonTask
from worker.sync.reading import PersonReader

T = TypeVar("T")

CONTINUE_WITHIN = timedelta(hours=12)
_TTL_S = 1e8
"""No lease expires by itself here; a takeover ends it first."""

_LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)

PSEUDONYMS = PseudonymKey(b"stateful" * 4)


class KilledError(Exception):
    """The process has died; what it had committed stands."""


@dataclass(slots=True)
class Fuse:
    """How many transactions the process still commits before it dies; None: it lives."""

    left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MortalDatabase(Database):
    """The real database, of a process that may die between two transactions."""

    fuse: Fuse = field(default_factory=Fuse)

    async def write(self, work: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        """Commit, unless the process is dead by now."""
        if self.fuse.left == 0:
            raise KilledError
        result = await Database.write(self, work, *args, **more)
        if self.fuse.left is not None:
            self.fuse.left -= 1
        return result


class StoreUnderTest:
    """A database and an event loop; emptied for each example, so that statements stay compiled."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._opened = open_database(url, real_runtime())
        self._real = self.do(self._opened.__aenter__())
        self.clear()

    def clear(self) -> None:
        """A store that was never begun, at a time that is always the same."""
        self.fake = FakeRuntime()
        self.database = by_our_clock(replace(self._real, runtime=self.fake.runtime))
        self.holders = 0

        async def work(connection: AsyncConnection) -> None:
            for table in reversed(metadata.sorted_tables):
                if table is not store_identity:
                    await connection.execute(table.delete())
            await connection.execute(insert(lease_table).values(id=1))

        self.do(self.database.write(work))

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end."""
        return self._loop.run_until_complete(coroutine)

    def check(self) -> None:
        """No connection is checked out."""
        assert "Current Checked out connections: 0" in self.database.engine.pool.status()

    def close(self) -> None:
        """Nothing is left open."""
        self.do(self._opened.__aexit__(None, None, None))
        self._loop.close()

    def mortal(self) -> MortalDatabase:
        """The database of a new process."""
        mine = self.database
        return MortalDatabase(
            engine=mine.engine, dialect=mine.dialect, runtime=mine.runtime, gate=mine.gate
        )

    def new_holder(self) -> Holder:
        """A process of another machine, of which nobody here knows whether it lives."""
        self.holders += 1
        return Holder(holder_id=f"holder-{self.holders}", host="elsewhere", process="1:1")

    def end_lease(self) -> None:
        """The holder has been silent for too long."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(lease_table).values(expires_at=_LONG_AGO))

        self.do(self.database.write(work))

    def attempts(self) -> Mapping[int, int]:
        """By run attempt, its run."""

        async def work(connection: AsyncConnection) -> Mapping[int, int]:
            rows = await connection.execute(text("SELECT attempt_id, run_id FROM run_attempt"))
            return {row.attempt_id: row.run_id for row in rows}

        return self.do(self.database.read(work))


async def take_lease(database: Database, holder: Holder) -> Lease:
    """Acquire the lease, as the program does."""
    return await acquire(database, holder, ttl_s=_TTL_S)


@dataclass(kw_only=True)
class ProcessAtWork:
    """A process at work on a run.

    Attributes:
        roster: identifiers with their local references, as this process's roster has them.
        roster_faults: bad lines on it.
    """

    database: MortalDatabase
    lease: Lease
    store: SqlRunStore
    reader: PersonReader
    roster: Mapping[str, str | None]
    roster_faults: int
    last_batch: Sequence[PersonRead] = ()

    @property
    def handle(self) -> RunHandle:
        return self.store.handle

    @property
    def may_depart(self) -> bool:
        return self.handle.kind == RunKind.SYNC and not self.roster_faults

    def person(self, off_id: str) -> Person:
        """As the producer makes one from a line of the roster."""
        given = NationalId(off_id)
        key = PSEUDONYMS.pseudonym(given)
        return Person(off_id=given, person_key=key, local_ref=self.roster.get(off_id))

    async def settled(self, off_ids: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """By person key, the areas that need no reading."""
        keys = [self.person(off_id).person_key for off_id in off_ids]
        return await self.store.settled(keys)

    async def read(self, tasks: Sequence[tuple[str, tuple[str, ...]]]) -> list[PersonRead]:
        """Read these areas of these persons from PTS, in this order."""
        reads = []
        for off_id, areas in tasks:
            read, _ = await self.reader.read(PersonTask(person=self.person(off_id), areas=areas))
            reads.append(read)
        return reads

    async def read_again(self, found: Sequence[Unconfirmed]) -> list[PersonRead]:
        """Read a second time, as the program does, what the store wants confirmed."""
        return [(await self.reader.read_again(one))[0] for one in found]

    def progress(self, requests: int, retries: int) -> RunProgress:
        """The counters that the program would hand on at the end."""
        return RunProgress(requests=requests, retries=retries, roster_faults=self.roster_faults)

    async def publish(self, guard: Guard, progress: RunProgress) -> Publication:
        """Publish the run as ``worker.sync.run`` does."""
        limits = GuardLimits(**asdict(guard))
        done = await self.store.publish(limits, may_depart=self.may_depart, progress=progress)
        assert isinstance(done, Publication)
        return done


async def begin(
    database: MortalDatabase,
    lease: Lease,
    source: Source,
    *,
    kind: RunKind,
    areas: tuple[str, ...],
    roster: Mapping[str, str | None],
    roster_faults: int,
) -> ProcessAtWork:
    """Begin or continue a run, as ``worker.use_cases.run_sync`` does once it holds the lease."""
    store = await open_run_store(
        lease, kind=kind, areas=areas, contract="", continue_within=CONTINUE_WITHIN
    )
    pts = PtsReader(
        areas=[area for area in AREAS if area.name in areas],
        base_url=BASE_URL,
        client=cast("RetryingClient", source),
        runtime=database.runtime,
        contract=CONTRACT,
    )
    return ProcessAtWork(
        database=database,
        lease=lease,
        store=store,
        reader=PersonReader(
            reader=pts,
            breaker=Breaker(),
            evidence=Evidence(
                reader=pts,
                runtime=database.runtime,
                availability=Throttle(math.inf, database.runtime),
            ),
            progress=RunProgress(),
            runtime=database.runtime,
        ),
        roster=roster,
        roster_faults=roster_faults,
    )
