"""What the simulation and its model have found in the store, by itself and by name."""

from msgspec.structs import replace

from tests.support.store_world import AREAS, PRIVACY, SAFETY, World, read, world_on
from worker.core.model import PersonRead

OTHERS = ("k1", "k2")
"""Restrictions of somebody else, so that the guard has nothing to say."""


async def publish(world: World, *reads: PersonRead, areas: tuple[str, ...] = AREAS) -> None:
    """A sync of these areas of these persons and of one more, published."""
    attempt = await world.begin(areas=areas)
    for read_ in (*reads, read(world, "k", *OTHERS)):
        held = tuple(area for area in read_.areas if area.area in areas)
        await attempt.write(replace(read_, areas=held))
    await attempt.publish()


async def test_who_comes_back_is_stale_until_read(sqlite_url):
    """Departed and back by runs that read one area: nobody knows the other one by now."""
    async with world_on(sqlite_url) as world:
        everyone = [read(world, one) for one in ("l", "m", "n")]
        await publish(world, read(world, "a", "x"), *everyone)
        for _ in range(2):  # rosters that do not name them
            await publish(world, *everyone, areas=(PRIVACY,))
        await publish(world, read(world, "a"), *everyone, areas=(PRIVACY,))
        assert {row[0] for row in await world.current()} == {"k"}
        (stale,) = await world.rows(
            "SELECT is_stale FROM report_person_freshness "
            "WHERE person_key = 'a' AND area = 'patient-safety'"
        )
        assert stale[0]


async def test_an_area_that_no_run_reads_is_not_missed(sqlite_url):
    """Nobody is stale in it: neither the first persons nor one who joins."""
    async with world_on(sqlite_url) as world:
        for joined in ("l", "m"):
            await publish(world, read(world, joined, "x"), areas=(SAFETY,))
        assert await world.rows("SELECT DISTINCT area FROM report_person_freshness") == [(SAFETY,)]
