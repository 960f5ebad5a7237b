"""The store does not close on one read: what it gives back instead, and what it keeps of both."""

import pytest
from msgspec.structs import replace

from tests.support.second_reads import read_again
from tests.support.store_world import PRIVACY, SAFETY, World, failed, read, world_on
from worker.core.answer_forms import AnswerForms
from worker.core.confirmation import Confirm, compared, removed_by
from worker.core.model import AreaFailure, CompleteArea, PersonRead, RunKind
from worker.core.run import BatchResult

OTHERS = ("k1", "k2")
PROOF = (
    "SELECT record_count, digest, first_record_count, first_digest, first_read_at "
    "FROM report_person_freshness WHERE person_key = 'a' "
    f"AND area = '{SAFETY}'"
)


@pytest.fixture
async def world(database_url):
    """A store in which a holds x and y, and somebody else two more, published."""
    async with world_on(database_url) as made:
        await publish(made, read(made, "a", "x", "y"))
        yield made


async def publish(world: World, *reads: PersonRead) -> None:
    await world.publish(*reads, read(world, "k", *OTHERS))


def held(result: BatchResult) -> dict[str, dict[str, frozenset[str]]]:
    return {one.read.person.person_key: dict(one.published) for one in result.unconfirmed}


async def versions(world: World) -> list[tuple[object, ...]]:
    return await world.rows(
        "SELECT restriction_id, opened_run, closed_run FROM patient_safety_version ORDER BY 1, 2"
    )


@pytest.mark.promise("1")
async def test_a_single_read_closes_nothing(world):
    """The person is given back, with what readers see, and not a row of theirs is written."""
    attempt = await world.begin()
    before = await versions(world), await world.rows("SELECT * FROM person_area WHERE person_id=1")
    result = await attempt.apply(read(world, "a", "x=N", "z"), read(world, "k", *OTHERS))
    assert held(result) == {"a": {SAFETY: frozenset({"x", "y"})}}
    assert (result.opened, result.closed, result.removed, result.unchanged) == (0, 0, 0, 2)
    assert before == (
        await versions(world),
        await world.rows("SELECT * FROM person_area WHERE person_id=1"),
    )


@pytest.mark.promise("1")
async def test_the_second_read_is_written_with_both_in_the_proof(world):
    """Of the published proof, too, once another run has written its own in front."""
    attempt = await world.begin()
    (found,) = (await attempt.apply(read(world, "a", "x"))).unconfirmed
    first_at = world.fake.now()
    world.fake.advance(3)
    second = read_again(found)
    result = await attempt.apply(second, read(world, "k", *OTHERS))
    assert (result.unconfirmed, result.closed, result.removed) == ((), 1, 1)
    await attempt.publish()
    assert {row[1:3] for row in await world.current() if row[0] == "a"} == {("x", "NORU")}
    ((count, digest, first_count, first_digest, at),) = await world.rows(PROOF)
    assert (1, 1, digest) == (count, first_count, first_digest)
    assert first_at.isoformat() == (at if isinstance(at, str) else at.isoformat())

    shown = await world.rows(PROOF)
    attempt = await world.begin()
    await attempt.apply(read(world, "a", "x"))
    assert shown == await world.rows(PROOF), "readers see the proof of the published run"
    await attempt.apply(read(world, "k", *OTHERS))
    await attempt.publish()
    assert await world.rows(PROOF) == [(1, digest, None, None, None)]


async def test_a_failure_keeps_the_last_proof(world):
    """A read that fails later leaves both reads of the last complete one where they are."""
    await publish(world, read(world, "a", "x"))
    before = await world.rows(PROOF)
    assert before[0][2] == 1
    await publish(world, failed(world, "a"))
    assert before == await world.rows(PROOF)


@pytest.mark.promise("1")
async def test_undoing_brings_back_the_proof_with_both_reads(world):
    """A withheld run leaves no trace in it."""
    await publish(world, read(world, "a", "x"))
    before = await world.rows(PROOF)
    attempt = await world.begin()
    await attempt.write(read(world, "a"))
    backfill = await world.begin(RunKind.BACKFILL)
    await backfill.write(read(world, "a", "x"))
    assert before == await world.rows(PROOF)


@pytest.mark.promise("1")
async def test_compared_is_what_is_published(world):
    """Not what this run has closed before, nor what another open run has."""
    attempt = await world.begin()
    await attempt.write(read(world, "a", "x"))
    again = await attempt.apply(read(world, "a", "x"))
    assert held(again) == {"a": {SAFETY: frozenset({"x", "y"})}}
    backfill = await world.begin(RunKind.BACKFILL)
    assert held(await backfill.apply(read(world, "a"))) == {"a": {SAFETY: frozenset({"x", "y"})}}


async def test_what_only_this_run_has_seen_may_go_at_once(world):
    """Nobody has seen it: a second read of the same run without it removes nothing."""
    attempt = await world.begin()
    await attempt.apply(read(world, "a", "x", "y", "new"), read(world, "b", "new"))
    result = await attempt.apply(read(world, "a", "x", "y"), read(world, "b"))
    assert held(result) == {}
    assert [row[:1] for row in await versions(world)] == [("k1",), ("k2",), ("x",), ("y",)]


async def test_a_changed_content_is_no_removal(world):
    """Nor is a new restriction, or a person of whom nothing is published."""
    attempt = await world.begin()
    result = await attempt.apply(read(world, "a", "x=N", "y", "z"), read(world, "new", "w"))
    assert held(result) == {}


@pytest.mark.promise("1")
@pytest.mark.parametrize("codes", [("x=N", "y"), ("x", "y", "z"), ("x",), ()], ids=str)
async def test_every_difference_may_need_two_reads(world, codes):
    """``changes``: new, changed or gone. What is as published needs one."""
    attempt = await world.begin(confirm=Confirm.CHANGES)
    result = await attempt.apply(read(world, "a", *codes), read(world, "k", *OTHERS))
    assert held(result) == {"a": {SAFETY: frozenset({"x", "y"})}}
    assert result.unconfirmed[0].confirm == Confirm.CHANGES, "what the two reads must agree on"
    done = await attempt.apply(*map(read_again, result.unconfirmed))
    assert done.unconfirmed == ()


async def test_nothing_published_may_differ_as_well(world):
    """``changes``: records of whom nothing is published are a difference, no records are none."""
    attempt = await world.begin(confirm=Confirm.CHANGES)
    result = await attempt.apply(read(world, "new", "w"), read(world, "other"))
    assert held(result) == {"new": {SAFETY: frozenset()}}


async def test_only_the_area_in_question_is_read_again(world):
    """The other area waits with the person, and is written with them."""
    attempt = await world.begin()
    (found,) = (await attempt.apply(read(world, "a"))).unconfirmed
    assert [area.area for area in found.read.areas] == [SAFETY, PRIVACY]
    assert set(found.published) == {SAFETY}
    assert removed_by(found, found.read) == {(SAFETY, "x"), (SAFETY, "y")}


@pytest.mark.promise("1")
async def test_what_another_person_has_needs_two_reads(world):
    """One read alone takes nothing from anybody: it may be another person's answer."""
    attempt = await world.begin()
    result = await attempt.apply(read(world, "k", *OTHERS, "x"), read(world, "new", "w", "y"))
    assert held(result) == {
        "k": {SAFETY: frozenset({*OTHERS, "x"})},
        "new": {SAFETY: frozenset({"y"})},
    }
    taking = next(one for one in result.unconfirmed if one.read.person.person_key == "new")
    assert set() == removed_by(taking, taking.read)
    first, second = taking.read.areas[0], read(world, "new", "w").areas[0]
    assert isinstance(first, CompleteArea)
    assert isinstance(second, CompleteArea)
    outcome = compared(taking.published[SAFETY], first, second, taking.confirm, AnswerForms())
    assert isinstance(outcome, AreaFailure), "the second read no longer holds it"
    done = await attempt.apply(*map(read_again, result.unconfirmed))
    assert done.unconfirmed == ()


@pytest.mark.promise("1")
async def test_what_another_had_when_this_run_began_needs_two_reads(world):
    """Also if this run has closed it there: what is published does not depend on the order."""
    attempt = await world.begin()
    (found,) = (await attempt.apply(read(world, "a", "y"))).unconfirmed
    await attempt.apply(read_again(found))
    result = await attempt.apply(read(world, "new", "x"))
    assert held(result) == {"new": {SAFETY: frozenset({"x"})}}


async def test_keys_of_another_kind_are_a_removal(world):
    """Every published key is gone, whatever came in its place."""
    attempt = await world.begin()
    other = read(world, "a", "v", "w")
    safety, privacy = other.areas
    result = await attempt.apply(replace(other, areas=(safety, privacy)))
    assert len(removed_by(result.unconfirmed[0], result.unconfirmed[0].read)) == 2


async def test_what_another_holds_by_now_is_not_claimed_to_be_gone(world):
    """A removal that waits may be half of a move: then the early stop does not count it."""
    attempt = await world.begin()
    result = await attempt.apply(read(world, "a", "y"), read(world, "b", "x"))
    found, taking = result.unconfirmed
    assert (await attempt.apply(read_again(taking))).unconfirmed == ()
    store = attempt.store
    assert await store.removed_so_far({"a": removed_by(found, found.read)}) == (0, 0)
    gone = frozenset({(SAFETY, "x"), (SAFETY, "y"), (PRIVACY, "x")})
    assert await store.removed_so_far({"a": gone}) == (2, 1)


async def test_what_was_published_since_the_run_began_needs_a_second_read_too(database_url):
    """A first sync is under way when a backfill publishes: what it took over needs two reads."""
    async with world_on(database_url) as empty:
        sync = await empty.begin()
        backfill = await empty.begin(RunKind.BACKFILL)
        await backfill.apply(read(empty, "a", "x"))
        await backfill.publish()
        sync = await empty.begin()
        assert sync.handle.is_continued
        result = await sync.apply(read(empty, "b", "x"))
        assert held(result) == {"b": {SAFETY: frozenset({"x"})}}
