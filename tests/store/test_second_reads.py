"""The store does not close on one read: what it gives back instead, and what it keeps of both."""

import pytest

from tests.support.second_reads import read_again
from tests.support.store_world import (
    SAFETY,
    RunAttempt,
    World,
    failed,
    read,
    world_on,
)
from worker.core.model import PersonRead, RunKind
from worker.core.run import BatchResult

OTHERS = ("k1", "k2")
PROOF = (
    "SELECT record_count, digest, first_record_count, first_digest, first_read_at "
    "FROM report_person_freshness WHERE person_key = 'a' "
    f"AND area = '{SAFETY}'"
)


async def filled(world: World) -> World:
    """A store in which a holds x and y, and somebody else two more, published."""
    await publish(world, read(world, "a", "x", "y"))
    return world


@pytest.fixture
async def world(sqlite_url):
    """The same, on SQLite."""
    async with world_on(sqlite_url) as made:
        yield await filled(made)


async def publish(world: World, *reads: PersonRead) -> None:
    await world.publish(*reads, read(world, "k", *OTHERS))


def held(result: BatchResult) -> dict[str, set[str]]:
    """What each person who waits for a second read shows; all wait for the safety area alone."""
    assert all(set(one.published) == {SAFETY} for one in result.unconfirmed)
    return {one.read.person.person_key: set(one.published[SAFETY]) for one in result.unconfirmed}


async def versions(world: World) -> list[tuple[object, ...]]:
    return await world.rows(
        "SELECT restriction_id, opened_run, closed_run FROM patient_safety_version ORDER BY 1, 2"
    )


@pytest.mark.promise("1")
async def test_a_single_read_closes_nothing(database_url):
    """The person is given back, with what readers see, and not a row of theirs is written.

    A second read is written with both in the proof, also once another run has its own in front.
    """
    proofs = "SELECT * FROM person_area WHERE person_id = 1"
    async with world_on(database_url) as empty:
        world = await filled(empty)
        attempt = await world.begin()
        before = [await versions(world), await world.rows(proofs)]
        result = await attempt.apply(read(world, "a", "x"), read(world, "k", *OTHERS))
        assert held(result) == {"a": {"x", "y"}}
        assert (result.opened, result.closed, result.removed, result.unchanged) == (0, 0, 0, 2)
        assert [await versions(world), await world.rows(proofs)] == before
        first_at = world.fake.now()
        world.fake.advance(30)
        result = await attempt.apply(read_again(result.unconfirmed[0]))
        assert (result.unconfirmed, result.closed, result.removed) == ((), 1, 1)
        await attempt.publish()
        assert {row[1:3] for row in await world.current() if row[0] == "a"} == {("x", "NORU")}
        ((count, digest, first_count, first_digest, at),) = shown = await world.rows(PROOF)
        assert (count, first_count, first_digest) == (1, 1, digest)
        assert (at if isinstance(at, str) else at.isoformat()) == first_at.isoformat()
        attempt = await world.begin()
        await attempt.apply(read(world, "a", "x"))
        assert await world.rows(PROOF) == shown, "readers see the proof of the published run"
        await attempt.apply(read(world, "k", *OTHERS))
        await attempt.publish()
        assert await world.rows(PROOF) == [(1, digest, None, None, None)]


@pytest.mark.promise("1")
async def test_what_keeps_the_last_proof(world):
    """A read that fails later, and undoing a run, leave both reads of the last complete one."""
    await publish(world, read(world, "a", "x"))
    before = await world.rows(PROOF)
    assert before[0][2] == 1
    await publish(world, failed(world, "a"))
    assert await world.rows(PROOF) == before
    attempt = await world.begin()
    await attempt.write(read(world, "a"))
    backfill = await world.begin(RunKind.BACKFILL)
    await backfill.write(read(world, "a", "x"))
    assert await world.rows(PROOF) == before


CASES = {
    "gone": (["a"], [], {"a": {"x", "y"}}),
    "one of two gone": (["a", "x"], [], {"a": {"x", "y"}}),
    "keys of another kind": (["a", "v", "w"], [], {"a": {"x", "y"}}),
    "changed and new": (["a", "x=N", "y", "z"], [], {}),
    "of whom nothing is published": (["new", "w"], [], {}),
    "what another person has": (["new", "w", "y"], [], {"new": set()}),
    "what another has, beside one's own": (["k", *OTHERS, "x"], [], {"k": {*OTHERS}}),
    "what this run has closed there": (["new", "x"], ["a", "y"], {"new": set()}),
    "what this run has closed of one's own": (["a", "x"], ["a", "x"], {"a": {"x", "y"}}),
    "what only this run has seen": (["a", "x", "y"], ["a", "x", "y", "new"], {}),
}
"""What is read; what this run has read before, and confirmed; what needs a second read."""


@pytest.mark.promise("1")
@pytest.mark.parametrize(("now", "before", "expected"), CASES.values(), ids=CASES)
async def test_what_needs_a_second_read(world, now, before, expected):
    """What is published counts, of whomever it is, and not what this run has done before."""
    attempt = await world.begin()
    if before:
        await attempt.write(read(world, *before))
    result = await attempt.apply(read(world, *now))
    assert held(result) == expected
    await confirm(attempt, result)


async def confirm(attempt: RunAttempt, result: BatchResult) -> None:
    """A second read with the same answer is enough."""
    done = await attempt.apply(*map(read_again, result.unconfirmed))
    assert done.unconfirmed == ()


@pytest.mark.promise("1")
async def test_what_other_runs_have_done_meanwhile(world):
    """What an open run has closed is still published; what a backfill has published is, too."""
    sync = await world.begin()
    await sync.write(read(world, "a", "x"))
    backfill = await world.begin(RunKind.BACKFILL)
    assert held(await backfill.apply(read(world, "a"))) == {"a": {"x", "y"}}
    await backfill.write(read(world, "c", "new"))
    await backfill.publish()
    sync = await world.begin()
    assert sync.handle.is_continued
    assert held(await sync.apply(read(world, "b", "new"))) == {"b": set()}
