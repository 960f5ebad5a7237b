"""The store closes nothing on one read: what waits for a second one, and what it keeps of both."""

import pytest

from tests.support.store_world import read, world_on
from worker.core.model import RunKind

OTHERS = ("k1", "k2")


@pytest.fixture
async def world(database_url):
    """A store in which a holds x and y, and somebody else two more, published."""
    async with world_on(database_url) as made:
        await made.publish(read(made, "a", "x", "y"), read(made, "k", *OTHERS))
        yield made


@pytest.mark.promise("1")
async def test_a_second_read_that_is_never_made(world):
    """The person stays as published, is stale, and the run has a gap, and says so."""
    attempt = await world.begin()
    await attempt.apply(read(world, "a"), read(world, "k", *OTHERS))
    before = await world.current()
    assert await attempt.publish() == 3
    ((reason,),) = await world.rows("SELECT reason FROM report_run WHERE run_id = 2")
    assert "not read a second time, as the roster has changed: 1 person-area" in reason
    shown = await world.current()
    assert {row[:3] for row in shown} == {row[:3] for row in before}
    assert {(row[0], bool(row[3])) for row in shown} == {("a", True), ("k", False)}
    kinds = await world.rows(
        "SELECT failure_kind FROM report_person_freshness WHERE failure_kind IS NOT NULL"
    )
    assert kinds == [("unstable",)]


CASES = {
    "gone": (["a"], [], True),
    "one of two gone": (["a", "x"], [], True),
    "keys of another kind": (["a", "v", "w"], [], True),
    "changed and new": (["a", "x=NORS", "y", "z"], [], False),
    "out of effect": (["a", "x=N", "y"], [], True),
    "of whom nothing is published": (["new", "w"], [], False),
    "what another person has": (["new", "w", "y"], [], True),
    "what another has, beside one's own": (["k", *OTHERS, "x"], [], True),
    "what this run would close there": (["new", "x"], ["a", "y"], True),
    "what only this run has seen": (["a", "x", "y"], ["new", "w"], False),
}
"""What is read; what this run has read before, and confirmed; whether it needs a second read."""


@pytest.mark.promise("1")
@pytest.mark.parametrize(("now", "before", "waits"), CASES.values(), ids=CASES)
async def test_what_needs_a_second_read(world, now, before, waits):
    """What is published counts, of whomever it is, and not what this run has done before."""
    attempt = await world.begin()
    if before:
        await attempt.write(read(world, *before))
    assert await attempt.apply(read(world, *now)) == ({now[0]} if waits else set())
    await attempt.write(read(world, *now))
    assert await attempt.store.waiting() == 0


@pytest.mark.promise("1")
@pytest.mark.promise("12")
async def test_what_a_backfill_publishes_is_read_anew_by_an_open_run(world):
    """Its drafts are of what was published before.

    Those of its persons go, and of who would open what is now another person's; nobody else's.
    """
    sync = await world.begin()
    await sync.write(
        read(world, "a", "x", "y", "z"),
        read(world, "k", *OTHERS),
        read(world, "b", "new"),
        read(world, "fresh"),
    )
    backfill = await world.begin(RunKind.BACKFILL)
    await backfill.write(read(world, "c", "new"), read(world, "a", "x", "y"), read(world, "fresh"))
    await backfill.publish()
    sync = await world.begin()
    assert sync.handle.is_continued
    settled = await sync.settled("a", "b", "c", "k", "fresh")
    assert settled.keys() == {"k"}
    assert await sync.apply(read(world, "b", "new")) == {"b"}
