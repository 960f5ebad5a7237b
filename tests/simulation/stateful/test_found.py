"""What the machine and its model have found, each by itself and by name."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tests.support.store_world import (
    PRIVACY,
    SAFETY,
    RunAttempt,
    World,
    failed,
    read,
    world_on,
)
from worker.core.model import PersonRead

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""The machine itself goes on PostgreSQL, too."""
OTHERS = ("k1", "k2")
"""Restrictions of somebody else, so that the guard has nothing to say."""


async def published(world: World, *reads: PersonRead) -> RunAttempt:
    """A sync of these persons and of one more, published."""
    attempt = await world.begin()
    await attempt.write(*reads, read(world, "k", *OTHERS))
    await attempt.publish()
    return attempt


async def shown(world: World) -> set[tuple[str, str, str, bool]]:
    """The current safety view, without the others."""
    return {row for row in await world.current() if row[0] != "k"}


async def sync_of(world: World, areas: tuple[str, ...], reads: Sequence[PersonRead]) -> None:
    attempt = await world.begin(areas=areas)
    await attempt.write(
        *(
            replace(one, areas=tuple(area for area in one.areas if area.area in areas))
            for one in reads
        )
    )
    await attempt.publish()


async def test_who_comes_back_is_stale_until_read(database_url):
    """Departed and back by runs that read one area: nobody knows the other one by now."""
    async with world_on(database_url) as world:
        everyone = [read(world, one) for one in ("l", "m", "n")]
        await published(world, read(world, "a", "x"), *everyone)
        staying = [read(world, "k"), *everyone]
        for _ in range(2):  # rosters that do not name them
            await sync_of(world, (PRIVACY,), staying)
        await sync_of(world, (PRIVACY,), [read(world, "a"), *staying])
        assert set() == await shown(world)
        (stale,) = await world.rows(
            "SELECT is_stale FROM report_person_freshness "
            f"WHERE person_key = 'a' AND area = '{SAFETY}'"
        )
        assert stale[0]


async def test_first_seen_outlives_a_reading_without_it(database_url):
    """Gone by the first reading of a run, and back by the second with another content."""
    async with world_on(database_url) as world:
        await published(world, read(world, "a", "x"))
        query = "SELECT first_seen_at FROM report_patient_safety_current WHERE person_key = 'a'"
        before = await world.rows(query)
        attempt = await world.begin()
        await attempt.write(read(world, "a"))
        await attempt.write(read(world, "a", "x=N"), read(world, "k", *OTHERS))
        await attempt.publish()
        assert before == await world.rows(query)


async def test_a_change_under_one_person_takes_nothing_from_another(database_url):
    """Both hold the restriction, one is read and changed, the other fails: it stands, stale."""
    async with world_on(database_url) as world:
        await published(world, read(world, "a", "x"), read(world, "b", "x"))
        await published(world, read(world, "a", "x=N"), failed(world, "b"))
        assert await shown(world) == {("a", "x", "N", False), ("b", "x", "NORU", True)}
