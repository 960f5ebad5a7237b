"""What persons were called earlier: local reference and cohort as of each publication."""

import random
from datetime import timedelta

import pytest

from tests.support.databases import sqlite_files_of
from tests.support.report.stores import key_of, publish, safety, seen
from tests.support.store_world import World, read, world_on
from worker.core.model import RunKind
from worker.errors import WithheldError
from worker.store.queries.person import person_story
from worker.store.runs.retention import Purged, RetentionRules, purge

pytestmark = pytest.mark.promise("11")

LABELS = (
    "SELECT local_ref, cohort, since_publication, until_publication FROM report_person_label "
    "ORDER BY person_key, since_publication"
)


async def three_nights(world: World) -> None:
    """A person is called otherwise twice; a restriction stays, another one changes."""
    for code, ref, cohort in ("N", "R1", "Nord"), ("NORU", "R1", "Sør"), ("NORU", "R2", None):
        await publish(
            world, seen(world, 1, safety("a", "N"), safety("b", code), ref=ref, cohort=cohort)
        )
        world.fake.advance(86_400)


async def test_a_person_has_the_label_of_then(sqlite_url):
    """As of each night, in history and in the feed what it was; now what is published."""
    async with world_on(sqlite_url) as world:
        began = world.fake.now()
        await three_nights(world)
        history = (
            "SELECT restriction_id, opened_publication, local_ref, cohort "
            "FROM report_patient_safety_history ORDER BY 1, 2"
        )
        assert await world.rows(history) == [
            ("a", 1, "R1", "Nord"),
            ("b", 1, "R1", "Nord"),
            ("b", 2, "R1", "Sør"),
        ]
        feed = "SELECT publication_no, op, local_ref, cohort FROM report_change_feed ORDER BY seq"
        assert (await world.rows(feed))[2:] == [
            (2, "update", "R1", "Sør"),
            (2, "relabel", "R1", "Sør"),
            (3, "relabel", "R2", None),
        ]
        labels = [("R1", "Nord", 1, 2), ("R1", "Sør", 2, 3), ("R2", None, 3, None)]
        assert await world.rows(LABELS) == labels
        attempt = await world.begin()
        await attempt.write(seen(world, 1, safety("a", "N"), ref="R3"))
        found = []
        for as_of in (*(began + timedelta(days=day, hours=-1) for day in range(4)), None):
            story = await world.database.read(
                person_story, key_of(1), now=world.fake.now(), as_of=as_of
            )
            found.append(story and (story.local_ref, story.cohort))
        assert found == [(None, None), ("R1", "Nord"), ("R1", "Sør"), ("R2", None), ("R2", None)]


async def test_every_publication_has_its_own(sqlite_url):
    """By the intervals everybody is called at each instant what readers saw then.

    A run that is withheld, or a backfill among them, changes nothing in that.
    """
    rng, saw = random.Random(7), {}
    names = "person_key, local_ref, cohort"
    async with world_on(sqlite_url) as world:
        for number in range(1, 7):
            some = [one for one in range(9) if rng.random() < 0.8] or [0]
            reads = [
                seen(
                    world,
                    one,
                    safety(f"s{one}", "N"),
                    ref=f"R{one}" if rng.random() < 0.8 else None,
                    cohort=rng.choice(["Nord", "Nord", "Sør", None]),
                )
                for one in some
            ]
            await publish(world, *reads, kind=RunKind.BACKFILL if number == 3 else RunKind.SYNC)
            saw[number] = set(await world.rows(f"SELECT {names} FROM report_person_freshness"))
            if number == 4:
                attempt = await world.begin()
                await attempt.write(*(seen(world, one, ref="X", cohort="X") for one in range(9)))
                with pytest.raises(WithheldError):
                    await attempt.publish()
            world.fake.advance(3_600)
        for number, rows in saw.items():
            at = f"SELECT published_at FROM report_publication WHERE publication_no = {number}"
            then = await world.rows(
                f"SELECT {names} FROM report_person_label WHERE valid_from <= ({at}) "
                f"AND (valid_to IS NULL OR valid_to > ({at}))"
            )
            assert len({key for key, _, _ in then}) == len(then)
            assert rows <= set(then)


async def test_retention_forgets_and_does_not_falsify(sqlite_url):
    """What is forgotten is empty and not today's; what a version shows is kept until it goes."""
    rules = RetentionRules(versions=timedelta(days=1))
    async with world_on(sqlite_url) as world:
        await three_nights(world)
        world.fake.advance(30 * 86_400)
        assert await purge(await world.lease(), rules) == Purged(versions=1)
        await publish(world, seen(world, 1, safety("b", "NORU"), ref="R2"))
        world.fake.advance(30 * 86_400)
        assert await purge(await world.lease(), rules) == Purged(versions=1, labels=1)
        assert await world.rows(LABELS) == [
            (None, None, 1, 2),
            ("R1", "Sør", 2, 3),
            ("R2", None, 3, None),
        ]


@pytest.mark.promise("8")
async def test_no_earlier_label_of_an_erased_person_is_left(sqlite_url):
    """Neither as a row nor as a byte of the file."""
    early = "early-reference-71c2"
    async with world_on(sqlite_url) as world:
        for ref, child in ((early, "R8"), ("R2", "R9"), ("R3", "R9")):
            mine = seen(world, 1, safety("a", "N"), ref=ref, cohort="Nord")
            await publish(world, mine, seen(world, 2, ref=child))
        found = await world.erase(key_of(1))
        assert early in found.local_refs
        assert found.rows["person_label"] == 2
        assert await world.rows(LABELS) == [("R8", None, 1, 2), ("R9", None, 2, None)]
        assert early.encode() not in sqlite_files_of(sqlite_url)


async def test_a_backfill_of_bare_identifiers_keeps_the_label(sqlite_url):
    """Only a list that has a label gives a new one; what no run has published is not kept."""
    async with world_on(sqlite_url) as world:
        await world.publish(read(world, "a", "x", ref="R1"), read(world, "b", "y", ref="R2"))
        attempt = await world.begin()
        await attempt.write(read(world, "c", "z", ref="R4"))
        await world.publish(
            read(world, "a", "x"),
            read(world, "b", "y", ref="R3"),
            read(world, "c", "z"),
            kind=RunKind.BACKFILL,
        )
        shown = "SELECT DISTINCT person_key, local_ref FROM report_person_freshness"
        assert set(await world.rows(shown)) == {("a", "R1"), ("b", "R3"), ("c", None)}
        relabels = "SELECT person_key FROM report_change_feed WHERE op = 'relabel'"
        assert await world.rows(relabels) == [("b",)]
