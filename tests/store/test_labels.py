"""What persons were called earlier: local reference and cohort as of each publication."""

import random
from datetime import timedelta
from typing import Any

import pytest

from tests.store.test_change_feed import feed
from tests.store.test_erase import erase, files_of
from tests.store.test_facts import publish
from tests.support.report.stores import key_of, safety, seen
from tests.support.store_world import World, world_on
from worker.core.identity import NationalId
from worker.core.model import RunKind
from worker.errors import WithheldError
from worker.store.privacy.erasing import Mask, erase_traces, find_traces
from worker.store.queries.person import person_story
from worker.store.runs.retention import RetentionRules, purge

pytestmark = pytest.mark.promise("11")

HISTORY = (
    "SELECT restriction_id, opened_publication, local_ref, cohort "
    "FROM report_patient_safety_history ORDER BY 1, 2"
)
LABELS = (
    "SELECT local_ref, cohort, since_publication, until_publication FROM report_person_label "
    "ORDER BY person_key, since_publication"
)
FEED = "SELECT publication_no, op, local_ref, cohort FROM report_change_feed ORDER BY seq"


async def three_nights(world: World) -> None:
    """A person is called otherwise twice; a restriction stays, another one changes."""
    for code, ref, cohort in ("N", "R1", "Nord"), ("NORU", "R1", "Sør"), ("NORU", "R2", None):
        await publish(
            world, seen(world, 1, safety("a", "N"), safety("b", code), ref=ref, cohort=cohort)
        )
        world.fake.advance(86_400)


async def test_history_and_feed_say_what_it_was(database_url):
    """A version what it was when it opened, an entry of the feed what it was at its publication."""
    async with world_on(database_url, our_clock=True) as world:
        await three_nights(world)
        assert (await world.rows(HISTORY)) == [
            ("a", 1, "R1", "Nord"),
            ("b", 1, "R1", "Nord"),
            ("b", 2, "R1", "Sør"),
        ]
        assert await world.rows(FEED) == [
            (1, "insert", "R1", "Nord"),
            (1, "insert", "R1", "Nord"),
            (2, "update", "R1", "Sør"),
            (2, "relabel", "R1", "Sør"),
            (3, "relabel", "R2", None),
        ]
        assert (await world.rows(LABELS)) == [
            ("R1", "Nord", 1, 2),
            ("R1", "Sør", 2, 3),
            ("R2", None, 3, None),
        ]
        current = "SELECT DISTINCT local_ref, cohort FROM report_patient_safety_current"
        assert await world.rows(current) == [("R2", None)]


async def test_a_person_has_the_label_of_then(database_url):
    """As of each night what it was; before the first nothing; now what is published."""
    async with world_on(database_url, our_clock=True) as world:
        began = world.fake.now()
        await three_nights(world)
        attempt = await world.begin()
        await attempt.write(seen(world, 1, safety("a", "N"), ref="R3"))

        async def label_of(as_of=None):
            story = await world.database.read(
                person_story, key_of(1), now=world.fake.now(), as_of=as_of
            )
            return story and (story.local_ref, story.cohort)

        nights = [began + timedelta(days=day, hours=-1) for day in range(4)]
        expected = [(None, None), ("R1", "Nord"), ("R1", "Sør"), ("R2", None)]
        assert [await label_of(night) for night in nights] == expected
        assert await label_of() == ("R2", None)


@pytest.mark.parametrize("seed", range(2))
async def test_every_publication_has_its_own(database_url, seed):
    """By the intervals everybody is called at each instant what readers saw then."""
    rng, saw = random.Random(seed), {}
    names = "person_key, local_ref, cohort"
    async with world_on(database_url, our_clock=True) as world:
        for number in range(1, 8):
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
            kind = RunKind.BACKFILL if number == 4 else RunKind.SYNC
            await publish(world, *reads, kind=kind)
            saw[number] = set(await world.rows(f"SELECT {names} FROM report_person_freshness"))
            if number == 5:  # a run that is given up
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
        ends = "SELECT person_key, valid_to FROM report_person_label WHERE valid_to IS NOT NULL"
        begins = "SELECT person_key, valid_from FROM report_person_label"
        assert set(await world.rows(ends)) <= set(await world.rows(begins))


async def test_retention_forgets_and_does_not_falsify(database_url):
    """What is forgotten is empty and not today's; what a version shows is kept until it goes."""
    rules = RetentionRules(versions=timedelta(days=1))

    async def forget(world: World) -> tuple[int, int]:
        done = await purge(await world.lease(), rules)
        return done.versions, done.labels

    async with world_on(database_url, our_clock=True) as world:
        await three_nights(world)
        world.fake.advance(30 * 86_400)
        # The version that opened with the first label stands; nothing shows the second.
        before = await world.rows(HISTORY)
        assert await forget(world) == (1, 0)
        assert await world.rows(HISTORY) == [before[0], before[2]]
        await publish(world, seen(world, 1, safety("b", "NORU"), ref="R2"))
        world.fake.advance(30 * 86_400)
        assert await forget(world) == (1, 1)
        assert await world.rows(HISTORY) == [("b", 2, "R1", "Sør")]
        assert (await world.rows(LABELS)) == [
            (None, None, 1, 2),
            ("R1", "Sør", 2, 3),
            ("R2", None, 3, None),
        ]
        shown: list[tuple[Any, ...]] = await world.rows(FEED)
        assert {row for row in shown if row[0] == 1} == {(1, "insert", None, None)}
        await publish(world, seen(world, 1, safety("b", "NORU"), ref="R3"))
        assert await forget(world) == (0, 0)  # it ended just now
        world.fake.advance(30 * 86_400)
        assert await forget(world) == (0, 1)
        assert (await world.rows(LABELS))[2:] == [(None, None, 3, 5), ("R3", None, 5, None)]


async def test_a_withheld_run_keeps_none(database_url):
    """Nothing of it is written but by the publication."""
    async with world_on(database_url, our_clock=True) as world:
        await publish(world, *(seen(world, one, safety(f"s{one}", "N")) for one in range(20)))
        attempt = await world.begin()
        await attempt.write(*(seen(world, one, ref="X", cohort="X") for one in range(20)))
        with pytest.raises(WithheldError):
            await attempt.publish()
        assert await world.rows("SELECT * FROM person_label") == []
        assert set(await world.rows(LABELS)) == {(None, None, 1, None)}


async def test_no_earlier_label_of_an_erased_person_is_left(database_url):
    """Neither as a row nor, on SQLite, as a byte of the file; the feed names nobody."""
    early = "early-reference-71c2"
    async with world_on(database_url, our_clock=True) as world:
        await publish(world, seen(world, 1, safety("a", "N"), ref=early, cohort="Nord"))
        await publish(world, seen(world, 1, safety("a", "N"), ref="R2", cohort="Sør"))
        await publish(world, seen(world, 1, safety("a", "N"), ref="R3", cohort="Sør"))
        found = await erase(world, key_of(1))
        assert early in found.local_refs
        assert found.rows["person_label"] == 2
        assert await world.rows("SELECT * FROM person_label") == []
        if "sqlite" in database_url:
            assert early.encode() not in files_of(database_url)
        assert {ref for _, _, ref, _ in await world.rows(FEED)} == {None}
        assert {key for *_, key in await feed(world)} == {None}


async def test_an_earlier_label_that_names_an_erased_person(database_url):
    """Somebody else's: the person is taken out of it."""
    off_id = NationalId("16858399649")
    async with world_on(database_url, our_clock=True) as world:
        await publish(world, seen(world, 1, ref=f"child of {off_id.reveal()}", cohort="Nord"))
        await publish(world, seen(world, 1, ref="R2", cohort="Nord"))
        found = await find_traces(world.database, key_of(9), off_id)
        assert found.mention_count == 1
        await erase_traces(await world.lease(), found, Mask(off_id, key_of(9)))
        assert (await world.rows(LABELS)) == [
            ("child of erased", "Nord", 1, 2),
            ("R2", "Nord", 2, None),
        ]
