"""Shards on a real PostgreSQL, without processes: each with its own pool and run attempt."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from tests.support import store_world
from tests.support.store_world import AREAS, HOLD, TTL_S, Attempt
from worker.core.run import Publication, RunReport, ShardFinished
from worker.core.sharding import Shard, ShardAssignment
from worker.errors import ExitCode, WorkerError
from worker.store.database import Database, open_database
from worker.store.runs.open_run_store import open_shard_store
from worker.store.runs.process_identity import Holder, this_process
from worker.store.shards.assignments import acquire_shard
from worker.store.shards.run_store import ShardRunStore

KEY = "night-1"
CEILING_PER_HOUR = 72_000


@dataclass
class Budget:
    """The port ``RateBudget``, which remembers what it was given."""

    total_per_hour: int = CEILING_PER_HOUR
    per_hour: int = 0

    def use(self, per_hour: int, *, until_s: float) -> None:
        assert until_s > 0
        self.per_hour = per_hour


@dataclass
class World(store_world.World):
    """One store that several processes share."""

    url: str

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Database]:
        """The pool of another process."""
        async with open_database(self.url, self.fake.runtime) as database:
            yield database

    async def expire(self, *names: str) -> None:
        """What a pause longer than the lease does."""
        listed = ", ".join(f"'{name}'" for name in names)
        await self.rows_written(
            f"UPDATE lease SET expires_at = clock_timestamp() - interval '1 s' "
            f"WHERE name IN ({listed})"
        )

    async def shard(
        self, index: int, count: int = 2, *, key: str = KEY, **more: Any
    ) -> "ShardAttempt":
        """A shard's attempt at a run that goes on."""
        attempt = await self.join(index, count, key=key, **more)
        assert isinstance(attempt, ShardAttempt)
        return attempt

    async def join(
        self,
        index: int,
        count: int = 2,
        *,
        key: str = KEY,
        holder: Holder | None = None,
        areas: Sequence[str] = AREAS,
        database: Database | None = None,
    ) -> "ShardAttempt | RunReport":
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
        return ShardAttempt(world=self, store=store, budget=budget)

    async def sharded_run(
        self, *keys: str, key: str = KEY, codes: tuple[str, ...] = ()
    ) -> Publication | ShardFinished:
        """A run in two shards over these persons, published."""
        first, second = await self.shard(0, key=key), await self.shard(1, key=key)
        for attempt in (first, second):
            own = [person for person in keys if attempt.store.shard.owns(person)]
            await attempt.write(*(store_world.read(self, person, *codes) for person in own))
        await first.end()
        return await second.end()


@dataclass
class ShardAttempt(Attempt):
    """The run attempt of a shard."""

    store: ShardRunStore
    budget: Budget = field(default_factory=Budget)


def shard_code(done: Publication | ShardFinished) -> ExitCode:
    """The exit code of a shard that is not the last."""
    assert isinstance(done, ShardFinished)
    return done.exit_code


def run_code(done: Publication | ShardFinished) -> ExitCode:
    """The exit code of the run."""
    assert isinstance(done, Publication)
    return done.exit_code


def names(index: int, number: int, count: int = 2) -> list[str]:
    """Person keys that a shard reads."""
    shard = Shard(index=index, count=count)
    return [key for n in range(1_000) if shard.owns(key := f"person-{n}")][:number]


def dead() -> Holder:
    """A process of this machine that is no more."""
    return replace(this_process("dead"), process="4194304:1")
