"""The shards of one run on PostgreSQL: two reads before a removal, and nobody writes twice."""

from typing import Any

import pytest

from tests.support.second_reads import read_again
from tests.support.store_world import AREAS, HOLD, SAFETY, TTL_S, RunAttempt, World, read, world_on
from worker.core.run import Publication, ShardFinished
from worker.core.sharding import Shard, ShardAssignment
from worker.errors import ExitCode, LeaseLostError
from worker.store.runs.open_run_store import open_shard_store
from worker.store.runs.process_identity import this_process
from worker.store.shards.assignments import acquire_shard
from worker.store.shards.run_store import ShardRunStore

pytestmark = pytest.mark.nightly


class Budget:
    """The port ``RateBudget``, of which nobody asks anything here."""

    total_per_hour = 72_000

    def use(self, per_hour: int, *, until_s: float) -> None:
        """Take any share."""


def keys_of(index: int, number: int) -> list[str]:
    """Keys of persons whom a shard of two reads."""
    shard = Shard(index=index, count=2)
    return [key for n in range(100) if shard.owns(key := f"person-{n}")][:number]


A, B = keys_of(0, 2)
P, Q = keys_of(1, 2)


async def shard(world: World, index: int, run_key: str) -> RunAttempt:
    """A shard's attempt at a run."""
    part = ShardAssignment(shard=Shard(index=index, count=2), run_key=run_key)
    holder = this_process(world.fake.runtime.new_id())
    lease = await acquire_shard(world.database, holder, part=part, ttl_s=TTL_S)
    store: Any = await open_shard_store(
        lease, part, areas=AREAS, continue_within=HOLD, budget=Budget()
    )
    assert isinstance(store, ShardRunStore)
    return RunAttempt(world=world, store=store)


async def first_night(world: World) -> None:
    """Two shards read a person each and publish together."""
    first, second = [await shard(world, index, "night-1") for index in (0, 1)]
    await first.write(read(world, A, "x", "w"))
    await second.write(read(world, P, "y", "z"))
    assert isinstance(await first.end(), ShardFinished)
    assert await world.current() == set(), "nothing shows before every part is done"
    assert isinstance(await second.end(), Publication)


@pytest.mark.promise("1")
async def test_a_removal_needs_two_reads_in_a_shard(postgresql_url):
    """Each shard holds its own persons back, and closes what a second read confirms."""
    async with world_on(postgresql_url) as world:
        await first_night(world)
        first, second = [await shard(world, index, "night-2") for index in (0, 1)]
        (found,) = (await first.apply(read(world, A, "x"), read(world, B))).unconfirmed
        assert found.read.person.person_key == A
        assert found.published == {SAFETY: frozenset({"x", "w"})}
        await first.apply(read_again(found))
        await second.write(read(world, P, "y", "z"))
        await first.end()
        done = await second.end()
        assert isinstance(done, Publication)
        assert done.exit_code == ExitCode.OK
        assert {row[:2] for row in await world.current()} == {(A, "x"), (P, "y"), (P, "z")}


@pytest.mark.promise("4")
async def test_a_replaced_shard_writes_nothing(postgresql_url):
    """It was paused past its lease: its successor goes on, and whatever it tries is lost."""
    async with world_on(postgresql_url) as world:
        first, second = [await shard(world, index, "night-1") for index in (0, 1)]
        await first.write(read(world, A, "x"))
        await world.rows_written(
            "UPDATE lease SET expires_at = clock_timestamp() - interval '1 s' WHERE name = 'run/0'"
        )
        again = await shard(world, 0, "night-1")
        for write in (lambda: first.apply(read(world, B, "lost")), first.finish, first.interrupt):
            with pytest.raises(LeaseLostError):
                await write()
        assert set(await again.settled(A, B)) == {A}
        await again.write(read(world, B))
        await second.write(read(world, P))
        await again.end()
        await second.end()
        assert await world.current() == {(A, "x", "NORU", False)}
