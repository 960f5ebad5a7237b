"""What the machine and its model have found, each by itself and by name."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tests.support.store_world import (
    PRIVACY,
    SAFETY,
    Attempt,
    World,
    failed,
    read,
    world_on,
)
from worker.core.model import PersonRead, RunKind
from worker.store.runs.guard_facts import guard_facts
from worker.store.runs.ledger import open_counts

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""The machine itself goes on PostgreSQL, too."""
OTHERS = ("k1", "k2")
"""Restrictions of somebody else, so that the guard has nothing to say."""


async def published(world: World, *reads: PersonRead) -> Attempt:
    """A sync of these persons and of one more, published."""
    attempt = await world.begin()
    await attempt.write(*reads, read(world, "k", *OTHERS))
    await attempt.publish()
    return attempt


async def shown(world: World) -> set[tuple[str, str, str, bool]]:
    """The current safety view, without the others."""
    return {row for row in await world.current() if row[0] != "k"}


async def sync_of(world: World, areas: tuple[str, ...], reads: Sequence[PersonRead]) -> None:
    """A sync of some areas, published."""
    attempt = await world.begin(areas=areas)
    await attempt.write(
        *(
            replace(one, areas=tuple(area for area in one.areas if area.area in areas))
            for one in reads
        )
    )
    await attempt.publish()


async def test_nobody_departs_whom_readers_never_saw(database_url):
    """A person whom only an earlier attempt at the same run has seen has not left."""
    async with world_on(database_url) as world:
        await published(world, read(world, "a", "x"))
        attempt = await world.begin()
        await attempt.write(read(world, "new", "y"))
        await world.publish(read(world, "a", "x"), read(world, "k", *OTHERS))
        totals = await world.rows(
            "SELECT persons_total, persons_departed FROM report_run ORDER BY run_id"
        )
        assert totals[-1] == (2, 0)


async def test_who_comes_back_is_stale_until_read(database_url):
    """Departed and back by runs that read one area: nobody knows the other one by now."""
    async with world_on(database_url) as world:
        everyone = [read(world, one) for one in ("l", "m", "n")]
        await published(world, read(world, "a", "x"), *everyone)
        staying = [read(world, "k"), *everyone]
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


async def test_what_an_open_run_has_closed_is_open_for_readers(database_url):
    """A new run and its guard begin with what is published."""
    async with world_on(database_url) as world:
        await published(world, read(world, "a", "x"))
        attempt = await world.begin()
        await attempt.write(read(world, "a"))
        assert (await world.database.read(open_counts))[0] == 3


async def test_a_backfill_leaves_what_an_open_sync_has_closed(database_url):
    """The backfill did not ask for the old identifier, which has it until the sync is published."""
    async with world_on(database_url) as world:
        await published(world, read(world, "old", "x"), read(world, "new"))
        sync = await world.begin()
        await sync.write(read(world, "old"))
        await world.publish(read(world, "new", "x"), kind=RunKind.BACKFILL)
        assert await shown(world) == {("new", "x", "NORU", False), ("old", "x", "NORU", False)}


async def test_what_an_open_sync_has_opened_does_not_hide_a_removal(database_url):
    """The guard over a backfill looks at published rows and its own."""
    async with world_on(database_url) as world:
        await published(world, read(world, "a", "x"), read(world, "b"))
        sync = await world.begin()
        await sync.write(read(world, "b", "x"))
        backfill = await world.begin(RunKind.BACKFILL)
        await backfill.write(read(world, "a"))
        assert await backfill.store.removed_so_far() == (1, 1)


async def test_the_guard_measures_an_area_by_what_readers_see(database_url):
    """What an open sync has closed is open for readers, and for a backfill beside it."""
    async with world_on(database_url) as world:
        await published(world, read(world, "a", "x"), read(world, "b", "y"))
        sync = await world.begin()
        await sync.write(read(world, "b"))
        backfill = await world.begin(RunKind.BACKFILL)
        await backfill.write(read(world, "a"))
        handle = backfill.handle

        async def look(connection):
            return await guard_facts(connection, handle, departing=0, roster_faults=0)

        facts = await world.database.read(look)
        (safety,) = (area for area in facts.areas if area.area == SAFETY)
        assert (safety.open_before, safety.removed) == (4, 1)


async def test_what_another_holds_all_along_is_removed(database_url):
    """Held under two identifiers; a backfill closes one while an open sync has closed the other."""
    async with world_on(database_url) as world:
        await published(world, read(world, "a", "x"), read(world, "b", "x"))
        sync = await world.begin()
        await sync.write(read(world, "a"))
        backfill = await world.begin(RunKind.BACKFILL)
        await backfill.write(read(world, "b"))
        assert await backfill.store.removed_so_far() == (1, 1)
