"""The back-off period that a service asked for, in the ledger: how long it binds."""

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


async def asked_for_quiet(world: World, until: datetime) -> None:
    """A run that ended with 69, and the lease given back."""
    attempt = await world.begin()
    await attempt.store.interrupt(
        ExitCode.UNAVAILABLE, "PTS asks for quiet", RunProgress(), not_before=until
    )
    await attempt.lease.release()


async def test_it_binds_until_its_end(sqlite_url):
    """Whatever became of the run; of several the longest."""
    async with world_on(sqlite_url) as world:
        until = world.fake.now() + HOUR / 2
        await asked_for_quiet(world, until)
        await asked_for_quiet(world, until - HOUR / 4)
        await undo_run(await world.lease(), 1, status=RunStatus.ABANDONED)
        world.fake.advance((until - world.fake.now()).total_seconds() - 1)
        with pytest.raises(UnavailableError) as raised:
            await refuse_during_quiet(world.database)
        assert raised.value.not_before == until
        assert await refuse_during_quiet(world.database, wait_s_max=5) == 1
        world.fake.advance(1)
        assert await refuse_during_quiet(world.database) == 0


async def test_it_binds_for_an_hour_at_most(sqlite_url):
    """Also if it ends in the year 9999; a clock that was ahead blocks nobody once it is right."""
    async with world_on(sqlite_url) as world:
        right = world.fake.now()
        await asked_for_quiet(world, datetime.max.replace(microsecond=0, tzinfo=UTC))
        assert await quiet_until(world.database) == right + HOUR
        world.fake.set_wall_clock(right - timedelta(days=3650))
        assert await quiet_until(world.database) is None
