"""The ceiling on requests, divided among the leases of shards."""

from tests.support.shard_world import CEILING_PER_HOUR, World, dead

TOTAL = "SELECT coalesce(sum(share_per_hour), 0) FROM lease"


async def test_shards_that_begin_together_need_not_wait(world: World):
    """Each takes its part at once, and no shard takes more before it has looked again."""
    attempts = [await world.shard(index, 4) for index in range(4)]
    for attempt in attempts:
        await attempt.store.renew()
    assert [attempt.budget.per_hour for attempt in attempts] == [CEILING_PER_HOUR // 4] * 4
    assert await world.rows(TOTAL) == [(CEILING_PER_HOUR,)]


async def test_one_that_joins_waits_until_others_have_made_room(world: World):
    """Alone it has the whole; the newcomer has nothing until the first has looked again."""
    first = await world.shard(0, 2)
    for _ in range(2):
        await first.store.renew()
    assert first.budget.per_hour == CEILING_PER_HOUR
    second = await world.shard(1, 2)
    await second.store.renew()
    assert second.budget.per_hour == 0
    await first.store.renew()
    assert first.budget.per_hour == CEILING_PER_HOUR // 2
    await second.store.renew()
    assert second.budget.per_hour == CEILING_PER_HOUR // 2


async def test_what_one_leaves_goes_to_the_others(world: World):
    """One ends, one dies: two are left, with the half each, when they have looked."""
    attempts = [
        await world.shard(index, 4, holder=dead() if index == 3 else None) for index in range(4)
    ]
    for attempt in attempts[:3]:
        await attempt.store.renew()
    # A dead shard's share is still in its row.
    await world.rows_written(
        f"UPDATE lease SET share_per_hour = {CEILING_PER_HOUR // 4} WHERE name = 'run/3'"
    )
    await attempts[0].lease.release()
    for attempt in (attempts[1], attempts[2], attempts[1]):
        await attempt.store.renew()
        assert await world.rows(f"SELECT ({TOTAL}) <= {CEILING_PER_HOUR}") == [(True,)]
    assert [attempt.budget.per_hour for attempt in attempts[1:3]] == [CEILING_PER_HOUR // 2] * 2


async def test_one_that_slept_finds_its_share_taken(world: World):
    """It may go on, but asks nothing before the other has made room again."""
    first, second = await world.shard(0), await world.shard(1)
    for attempt in (first, second):
        await attempt.store.renew()
    await world.expire("run/0")
    await second.store.renew()
    assert second.budget.per_hour == CEILING_PER_HOUR
    await first.store.renew()
    assert first.budget.per_hour == 0
    await second.store.renew()
    await first.store.renew()
    assert [first.budget.per_hour, second.budget.per_hour] == [CEILING_PER_HOUR // 2] * 2


async def test_one_that_slept_unnoticed_keeps_its_share(world: World):
    """Nobody has looked since: what it has is still its own, and counts."""
    first, second = await world.shard(0), await world.shard(1)
    for attempt in (first, second):
        await attempt.store.renew()
    await world.expire("run/0")
    await first.store.renew()
    await second.store.renew()
    assert [first.budget.per_hour, second.budget.per_hour] == [CEILING_PER_HOUR // 2] * 2
