"""Who may work beside whom, and that nobody writes who was taken over (promise 4)."""

import pytest
from sqlalchemy import text

from tests.support.shard_world import KEY, ShardAttempt, World, dead, names, run_code
from tests.support.store_world import AREAS, HOLD, PRIVACY, SAFETY, TTL_S, read
from worker.core.run import RunProgress
from worker.core.sharding import Shard, ShardAssignment
from worker.errors import ExitCode, LeaseHeldError, LeaseLostError
from worker.store.database import open_database
from worker.store.runs.lease import acquire
from worker.store.runs.process_identity import this_process
from worker.store.shards.assignments import acquire_shard, begin_shard

A, B, C = names(0, 3)
P, Q, R = names(1, 3)
WRITTEN = "SELECT count(*) FROM person_area"


@pytest.mark.promise("4")
async def test_an_ordinary_run_waits_for_every_shard(world: World):
    """While one shard lives it is refused, and the message names the shard."""
    first, second = await world.shard(0), await world.shard(1)
    await first.lease.release()
    with pytest.raises(LeaseHeldError, match=f"shard 1/2 of the run {KEY}"):
        await world.lease()
    await second.lease.release()
    assert (await world.lease()).name == "run"


@pytest.mark.parametrize(
    ("index", "count", "key"),
    [(1, 2, "night-2"), (1, 3, KEY), (0, 2, KEY)],
    ids=["another key", "another number", "the same shard"],
)
async def test_a_shard_waits_for_others_that_live(world: World, index: int, count: int, key: str):
    """Shards of another run, or a process that is on with the same one, keep it out."""
    await world.shard(0)
    with pytest.raises(LeaseHeldError):
        await world.join(index, count, key=key)
    assert await world.rows("SELECT count(*) FROM run_attempt") == [(1,)]


async def test_a_shard_waits_for_an_ordinary_run(world: World):
    """And the ordinary run is none the worse for it."""
    attempt = await world.begin()
    with pytest.raises(LeaseHeldError, match="another run"):
        await world.join(0)
    await attempt.write(read(world, A, "x"))
    assert run_code(await attempt.end()) == ExitCode.OK


@pytest.mark.promise("4")
async def test_a_paused_shard_cannot_write_beside_an_ordinary_run(world: World):
    """It was taken over: whatever it tries, nothing is written, nor ended."""
    first, second = await world.shard(0), await world.shard(1)
    await second.lease.release()
    await first.write(read(world, A, "x"))
    await world.expire("run/0")
    attempt = await world.begin()
    before = await world.rows(WRITTEN)
    await assert_lost(first)
    assert before == await world.rows(WRITTEN)
    assert await attempt.settled(A) == {A: {SAFETY, PRIVACY}}
    await attempt.write(read(world, P))
    assert run_code(await attempt.end()) == ExitCode.OK


async def test_a_shard_that_stands_still_within_a_write_keeps_its_lease(world: World):
    """Its lease has expired, but not its transaction: an ordinary run is refused, and says whom."""
    await world.shard(0)
    await world.expire("run/0")

    async def stand_still(connection):
        await connection.execute(text("SELECT 1 FROM lease WHERE name = 'run/0' FOR UPDATE"))
        with pytest.raises(LeaseHeldError, match=f"shard 0/2 of the run {KEY}"):
            await acquire(impatient, this_process("x"), ttl_s=TTL_S)

    async with open_database(world.url, world.fake.runtime, patience_s=1.0) as impatient:
        await world.database.write(stand_still)


async def test_a_paused_ordinary_run_cannot_write_beside_shards(world: World):
    """The same the other way round."""
    attempt = await world.begin()
    await attempt.write(read(world, A, "x"))
    await world.expire("run")
    first, second = await world.shard(0), await world.shard(1)
    with pytest.raises(LeaseLostError):
        await attempt.write(read(world, B))
    with pytest.raises(LeaseLostError):
        await attempt.finish()
    await first.write(read(world, A, "y"))
    await second.write(read(world, P))
    await first.end()
    assert run_code(await second.end()) == ExitCode.OK
    assert await world.current() == {(A, "y", "NORU", False)}


async def test_a_paused_shard_cannot_write_beside_those_of_another_key(world: World):
    """All leases of the older run are lost when the newer begins, also those of other shards."""
    old = [await world.shard(index, 3) for index in range(3)]
    await world.expire("run/0", "run/1", "run/2")
    await world.shard(0, key="night-2")
    for attempt in old:
        await assert_lost(attempt)
    assert await world.rows(WRITTEN) == [(0,)]


async def test_a_paused_shard_whom_nobody_replaced_carries_on(world: World):
    """Its persons are nobody else's, so it may."""
    first, second = await world.shard(0), await world.shard(1)
    await world.expire("run/0")
    await second.write(read(world, P))
    await second.end()
    await first.write(read(world, A, "x"))
    assert run_code(await first.end()) == ExitCode.OK


async def test_a_replaced_shard_writes_nothing(world: World):
    """Its successor goes on where it was."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"))
    await world.expire("run/0")
    again = await world.shard(0)
    await assert_lost(first)
    assert await again.settled(A, B) == {A: {SAFETY, PRIVACY}}
    await again.write(read(world, B))
    await second.write(read(world, P))
    await again.end()
    assert run_code(await second.end()) == ExitCode.OK


async def test_a_dead_shard_of_this_machine_is_replaced_at_once(world: World):
    """Its lease need not expire."""
    await world.join(0, holder=dead())
    world.fake.advance(1)
    again = await world.shard(0)
    assert again.handle.is_continued


async def test_a_joining_call_may_be_repeated(world: World):
    """A commit whose acknowledgement was lost: the same lease, the same run attempt."""
    part = ShardAssignment(shard=Shard(index=1, count=2), run_key=KEY)
    holder = this_process("me")
    found = []
    for _ in range(2):
        lease = await acquire_shard(world.database, holder, part=part, ttl_s=TTL_S)
        handle = await begin_shard(lease, part=part, areas=AREAS, continue_within=HOLD)
        found.append((lease, handle))
    assert found[0] == found[1]


async def assert_lost(attempt: ShardAttempt) -> None:
    """Every way to write ends with the lease's loss."""
    ours = names(attempt.store.shard.index, 9, attempt.store.shard.count)[-1]
    for write in (
        lambda: attempt.store.apply([read(attempt.world, ours, "lost")]),
        attempt.store.renew,
        attempt.finish,
        lambda: attempt.store.interrupt(ExitCode.STOPPED, "stopped", RunProgress()),
        lambda: attempt.store.withhold("too much"),
    ):
        with pytest.raises(LeaseLostError):
            await write()
