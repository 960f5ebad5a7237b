"""The change feed: each change of a publication once, in order, and nobody who was erased."""

import random
from datetime import timedelta
from typing import Any

import pytest

from tests.support.report.counted import drawn_night
from tests.support.report.stores import key_of, privacy, publish, safety, seen
from tests.support.store_world import PRIVACY, SAFETY, World, world_on
from worker.core.area import AREAS
from worker.store.runs.ledger import purge

pytestmark = pytest.mark.promise("2")


async def feed(world: World, after: int = 0) -> list[tuple[Any, ...]]:
    return await world.rows(
        "SELECT publication_no, op, area, restriction_id, person_key FROM report_change_feed "
        f"WHERE seq > {after} ORDER BY seq"
    )


async def test_the_feed_of_a_night(database_url):
    """Each change once, in order; persons who left or have another reference."""
    one, two, three = map(key_of, (1, 2, 3))
    third = [privacy("z", "Block", "Hard")]
    async with world_on(database_url, our_clock=True) as world:
        await publish(
            world,
            seen(world, 1, safety("a", "N"), safety("b", "N"), ref="R1"),
            seen(world, 2, safety("c", "N"), ref="R2"),
            seen(world, 3, ref="R3", private=third),
        )
        assert await feed(world) == [
            (1, "insert", SAFETY, "a", one),
            (1, "insert", SAFETY, "b", one),
            (1, "insert", SAFETY, "c", two),
            (1, "insert", PRIVACY, "z", three),
        ]
        ((last,),) = await world.rows("SELECT MAX(seq) FROM report_change_feed")
        await publish(
            world,
            seen(world, 1, safety("a", "N"), safety("b", "N"), ref="R1"),
            seen(world, 3, ref="R3", private=third),
        )
        assert await feed(world, last) == [], "who is missing once has not left"
        await publish(
            world,
            seen(world, 1, safety("a", "NORU"), safety("d", "N"), ref="R1"),
            seen(world, 3, ref="R4", private=third),
        )
        assert await feed(world, last) == [
            (3, "close", SAFETY, "b", one),
            (3, "close", SAFETY, "c", two),
            (3, "update", SAFETY, "a", one),
            (3, "insert", SAFETY, "d", one),
            (3, "depart", None, None, two),
            (3, "relabel", None, None, three),
        ]
        back = [seen(world, 2, ref="R2"), seen(world, 3, ref="R4", private=third)]
        await publish(world, seen(world, 1, safety("a", "NORU"), safety("d", "N"), ref="R1"), *back)
        assert (await feed(world, last))[6:] == [(4, "relabel", None, None, two)]


async def test_a_lake_that_follows_the_feed(sqlite_url):
    """One watermark: what it holds is what readers see, also after a purge and an erasure."""
    async with world_on(sqlite_url) as world:
        rng, seq = random.Random(7), 0
        lake: dict[tuple[str, int], tuple[int, str, str]] = {}
        for step in range(6):
            await publish(world, *drawn_night(world, rng, range(12)))
            if step == 3:
                old = timedelta(hours=1)
                assert (await purge(await world.lease(), versions=old)).versions
            if step == 4:
                await world.erase(key_of(5))
            seq = await follow(world, lake, seq)
            world.fake.advance(86_400)
        shown = set()
        columns = "version_no, restriction_id, person_key"
        for area in AREAS:
            rows = await world.rows(f"SELECT {columns} FROM report_{area.table}_history")
            shown |= {(area.name, *row) for row in rows}
        assert {(*key, *row[1:]) for key, row in lake.items()} == shown


async def follow(world: World, lake: dict[tuple[str, int], tuple[int, str, str]], seq: int) -> int:
    """Take what is behind the watermark: versions by number, with the person's number."""
    for row in await world.rows(
        "SELECT seq, op, area, version_no, person_no, restriction_id, person_key "
        f"FROM report_change_feed WHERE seq > {seq} ORDER BY seq"
    ):
        seq, op, area, version, person, key, person_key = row
        if op in ("insert", "update") and key is not None:
            lake[area, version] = (person, key, person_key)
        elif op == "purge":
            lake.pop((area, version), None)
        elif op == "erase" and version is None:
            for held in [held for held, kept in lake.items() if kept[0] == person]:
                del lake[held]
    return seq
