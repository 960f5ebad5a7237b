"""A PostgreSQL database with a month of nights, the last one a day ago, and tonight's run open."""

from datetime import UTC, datetime, timedelta

from tests.report.browser_report import NIGHTS, PERSONS, month
from tests.support.report.stores import missed
from tests.support.store_world import world_on


async def fill(url: str) -> None:
    """Run them through the real writer and publisher: one is withheld, the last one has gaps."""
    async with world_on(url, our_clock=True) as world:
        begin = datetime.now(UTC) - timedelta(days=NIGHTS)
        world.fake.advance((begin - world.fake.now()).total_seconds())
        await month(world)
        attempt = await world.begin()
        await attempt.write(missed(world, PERSONS))  # somebody new, of whom nothing is published
