"""What the simulation and its model have found in the store, each by itself and by name."""

import pytest
from msgspec.structs import replace

from tests.support.store_world import AREAS, PRIVACY, World, failed, read, world_on
from worker.core.model import PersonRead

OTHERS = ("k1", "k2")
"""Restrictions of somebody else, so that the guard has nothing to say."""


@pytest.fixture
async def world(sqlite_url):
    async with world_on(sqlite_url) as made:
        yield made


async def publish(world: World, *reads: PersonRead, areas: tuple[str, ...] = AREAS) -> None:
    """A sync of these areas of these persons and of one more, published."""
    attempt = await world.begin(areas=areas)
    for read_ in (*reads, read(world, "k", *OTHERS)):
        held = tuple(area for area in read_.areas if area.area in areas)
        await attempt.write(replace(read_, areas=held))
    await attempt.publish()


async def shown(world: World) -> set[tuple[str, str, str, bool]]:
    """The current safety view, without the others."""
    return {row for row in await world.current() if row[0] != "k"}


async def test_who_comes_back_is_stale_until_read(world):
    """Departed and back by runs that read one area: nobody knows the other one by now."""
    everyone = [read(world, one) for one in ("l", "m", "n")]
    await publish(world, read(world, "a", "x"), *everyone)
    for _ in range(2):  # rosters that do not name them
        await publish(world, *everyone, areas=(PRIVACY,))
    await publish(world, read(world, "a"), *everyone, areas=(PRIVACY,))
    assert set() == await shown(world)
    (stale,) = await world.rows(
        "SELECT is_stale FROM report_person_freshness "
        "WHERE person_key = 'a' AND area = 'patient-safety'"
    )
    assert stale[0]


async def test_first_seen_outlives_a_reading_without_it(world):
    """Gone by the first reading of a run, and back by the second with another content."""
    await publish(world, read(world, "a", "x"))
    query = "SELECT first_seen_at FROM report_patient_safety_current WHERE person_key = 'a'"
    before = await world.rows(query)
    await publish(world, read(world, "a"), read(world, "a", "x=N"))
    assert before == await world.rows(query)


async def test_a_change_under_one_person_takes_nothing_from_another(world):
    """Both hold the restriction, one is read and changed, the other fails: it stands, stale."""
    await publish(world, read(world, "a", "x"), read(world, "b", "x"))
    await publish(world, read(world, "a", "x=N"), failed(world, "b"))
    assert await shown(world) == {("a", "x", "N", False), ("b", "x", "NORU", True)}
