"""Shards on a real PostgreSQL, without processes: each with a pool and a turn of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import text

from tests.fakes import FakeRuntime
from tests.second_reads import apply_confirmed
from tests.store import test_store_scenarios as scenarios
from tests.store.test_store_scenarios import LIMITS, PRIVACY, SAFETY
from worker.core.guard import GuardLimits
from worker.core.model import CompleteArea, PersonRead, Record, RunKind
from worker.core.run import Publication, RunHandle, RunProgress, RunReport, ShardFinished
from worker.core.sharding import Shard, ShardAssignment
from worker.errors import ExitCode, WorkerError
from worker.store.database import Database, open_database
from worker.store.runs.lease import Lease, acquire
from worker.store.runs.open_run_store import open_run_store, open_shard_store
from worker.store.runs.process_identity import Holder, this_process
from worker.store.runs.run_store import SqlRunStore
from worker.store.shards.assignments import acquire_shard
from worker.store.shards.run_store import ShardRunStore

KEY = "night-1"
TTL_S = 50.0
CEILING_PER_HOUR = 72_000
AREAS = (SAFETY, PRIVACY)
HOLD = timedelta(hours=12)


@dataclass
class Budget:
    """The port ``RateBudget``, which remembers what it was told."""

    total_per_hour: int = CEILING_PER_HOUR
    told: list[int] = field(default_factory=list)

    def use(self, per_hour: int, *, until_s: float) -> None:
        assert until_s > 0
        self.told.append(per_hour)

    @property
    def per_hour(self) -> int:
        return self.told[-1] if self.told else 0


@dataclass
class World:
    """One store that several processes share."""

    url: str
    database: Database
    fake: FakeRuntime

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Database]:
        """The pool of another process."""
        async with open_database(self.url, self.fake.runtime) as database:
            yield database

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async def work(connection: Any) -> list[tuple[Any, ...]]:
            found = await connection.execute(text(sql))
            return [tuple(row) for row in found] if found.returns_rows else []

        return await self.database.write(work)

    async def current(self) -> set[tuple[Any, ...]]:
        return set(
            await self.rows(
                "SELECT person_key, restriction_id, confidentiality_code, is_stale "
                "FROM report_patient_safety_current"
            )
        )

    async def expire(self, *names: str) -> None:
        """What a pause longer than the lease does."""
        listed = ", ".join(f"'{name}'" for name in names)
        await self.rows(
            f"UPDATE lease SET expires_at = clock_timestamp() - interval '1 s' "
            f"WHERE name IN ({listed})"
        )

    async def begin(
        self, index: int, count: int = 2, *, key: str = KEY, **more: Any
    ) -> "ShardTurn":
        """A shard's turn at a run that goes on."""
        turn = await self.join(index, count, key=key, **more)
        assert isinstance(turn, ShardTurn)
        return turn

    async def join(
        self,
        index: int,
        count: int = 2,
        *,
        key: str = KEY,
        holder: Holder | None = None,
        areas: Sequence[str] = AREAS,
        database: Database | None = None,
    ) -> "ShardTurn | RunReport":
        """What a process does until it reads."""
        database = database or self.database
        part = ShardAssignment(shard=Shard(index=index, count=count), run_key=key)
        holder = holder or this_process(self.fake.runtime.new_id())
        lease = await acquire_shard(database, holder, part=part, ttl_s=TTL_S)
        budget = Budget()
        try:
            store = await open_shard_store(
                lease, part, areas=areas, continue_within=HOLD, budget=budget
            )
        except WorkerError:
            await lease.release()
            raise
        if isinstance(store, RunReport):
            await lease.release()
            return store
        return ShardTurn(world=self, store=store, budget=budget)

    async def alone(self, kind: RunKind = RunKind.SYNC) -> "Turn":
        """A turn of an ordinary run."""
        lease = await self.take()
        store = await open_run_store(lease, kind=kind, areas=AREAS, continue_within=HOLD)
        return Turn(world=self, store=store)

    async def take(self) -> Lease:
        holder = this_process(self.fake.runtime.new_id())
        return await acquire(self.database, holder, ttl_s=TTL_S)


@dataclass
class Turn:
    """One process's turn at a run."""

    world: World
    store: SqlRunStore

    @property
    def handle(self) -> RunHandle:
        return self.store.handle

    async def meet(self, *keys: str) -> dict[str, set[str]]:
        """Come across these persons on the roster; what of them needs no reading any more."""
        return {key: set(areas) for key, areas in (await self.store.settled(keys)).items()}

    async def write(self, *reads: PersonRead) -> None:
        await apply_confirmed(self.store.apply, reads)
        self.world.fake.advance(1.5)

    async def end(self, **how: Any) -> Publication | ShardFinished:
        """``finish``, and give the lease back."""
        done = await self.finish(**how)
        await self.store.lease.release()
        return done

    async def finish(
        self,
        *,
        is_whole: bool = True,
        limits: GuardLimits = LIMITS,
        faults: int = 0,
        requests: int = 0,
        not_sent: int = 0,
    ) -> Publication | ShardFinished:
        progress = RunProgress(roster_faults=faults, requests=requests, persons_not_sent=not_sent)
        may_depart = is_whole and self.handle.kind == RunKind.SYNC
        done = await self.store.publish(limits, may_depart=may_depart, progress=progress)
        self.world.fake.advance(60)
        return done


@dataclass
class ShardTurn(Turn):
    """The same, of a shard."""

    store: ShardRunStore
    budget: Budget = field(default_factory=Budget)


def whole(world: World, area: str, *records: Record) -> CompleteArea:
    """An area as read to its last page."""
    return scenarios.whole(cast("Any", world), area, *records)


def read(world: World, key: str, *codes: str) -> PersonRead:
    """A person whose safety area holds these restrictions."""
    return scenarios.read(cast("Any", world), key, *codes)


def failed(world: World, key: str) -> PersonRead:
    """A person whose safety area could not be read."""
    return scenarios.failed(cast("Any", world), key)


def part_code(done: Publication | ShardFinished) -> ExitCode:
    """The exit code of a shard that is not the last."""
    assert isinstance(done, ShardFinished)
    return done.exit_code


def whole_code(done: Publication | ShardFinished) -> ExitCode:
    """The exit code of the whole."""
    assert isinstance(done, Publication)
    return done.exit_code


def names(index: int, number: int, count: int = 2) -> list[str]:
    """Person keys that a shard reads."""
    shard = Shard(index=index, count=count)
    return [key for n in range(1_000) if shard.owns(key := f"person-{n}")][:number]


def dead() -> Holder:
    """A process of this machine that is no more."""
    return replace(this_process("dead"), process="4194304:1")
