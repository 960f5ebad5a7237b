"""The quiet that a service asked for, in the ledger: how long it binds, and what a clock does."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.store_world import World, world_on
from worker.core.model import RunStatus
from worker.core.run import RunProgress
from worker.errors import ExitCode, UnavailableError
from worker.store.runs.quiet import quiet_until, refuse_during_quiet
from worker.store.runs.undo import undo_run

pytestmark = pytest.mark.promise("7")

HOUR = timedelta(hours=1)


async def asked_for_quiet(world: World, until: datetime | None) -> None:
    """A run that ended with 69, and the lease given back."""
    attempt = await world.begin()
    await attempt.store.interrupt(
        ExitCode.UNAVAILABLE, "PTS asks for quiet", RunProgress(), not_before=until
    )
    await attempt.lease.release()


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(HOUR / 2, HOUR / 2), (timedelta(days=90), HOUR), (None, None), (-HOUR, None)],
)
async def test_it_binds_until_its_end_and_for_an_hour_at_most(database_url, asked, kept):
    async with world_on(database_url) as world:
        began = world.fake.now()
        await asked_for_quiet(world, None if asked is None else began + asked)
        assert await quiet_until(world.database) == (None if kept is None else began + kept)
        if kept is not None:
            world.fake.advance(kept.total_seconds() - 1)
            with pytest.raises(UnavailableError) as raised:
                await refuse_during_quiet(world.database)
            assert raised.value.not_before == began + kept
            assert await refuse_during_quiet(world.database, wait_s_max=5) == 1
            world.fake.advance(1)
        assert await refuse_during_quiet(world.database) == 0


async def test_the_year_9999_is_an_hour(database_url):
    async with world_on(database_url) as world:
        last = datetime.max.replace(microsecond=0, tzinfo=UTC)
        await asked_for_quiet(world, last)
        assert await quiet_until(world.database) == world.fake.now() + HOUR


async def test_a_clock_that_was_ahead_blocks_nobody(database_url):
    """The record is of the future: it was made under a wrong clock."""
    async with world_on(database_url) as world:
        right = world.fake.now()
        world.fake.set_wall_clock(right + timedelta(days=3650))
        await asked_for_quiet(world, world.fake.now() + HOUR)
        assert await quiet_until(world.database) is not None
        world.fake.set_wall_clock(right)
        assert await quiet_until(world.database) is None


async def test_an_abandoned_run_binds_too(database_url):
    """The longest counts, whatever became of the runs."""
    async with world_on(database_url) as world:
        began = world.fake.now()
        await asked_for_quiet(world, began + HOUR / 2)
        await asked_for_quiet(world, began + HOUR / 4)
        lease = await world.lease()
        await undo_run(lease, 1, status=RunStatus.ABANDONED)
        assert await quiet_until(world.database) == began + HOUR / 2
