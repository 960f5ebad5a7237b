"""The store closes nothing on one read: what waits for a second one, and what it keeps of both."""

from datetime import timedelta

import pytest

from tests.support.clock import START
from tests.support.report.stores import ANY
from tests.support.store_world import AREAS, PRIVACY, SAFETY, failed, read, world_on
from worker.core.model import RunKind
from worker.core.run import Pass, RunProgress
from worker.errors import FailureKind, WithheldError
from worker.store.persons import list_failures
from worker.store.runs.run_store import BackfillSelection

OTHERS = ("k1", "k2")


def a_pass(attempt, number, *, areas=AREAS, outages=(), at=START):
    """A later pass, which begins at this time."""
    no = attempt.handle.pass_no(number)
    outages = frozenset(outages)
    return Pass(number=number, pass_no=no, areas=areas, begins_at=at, outages=outages)


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
    assert await attempt.store.count_due(a_pass(attempt, 3, outages=AREAS)) == 0


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
    assert (await sync.drafts("a", "b", "c", "k", "fresh")).keys() == {"k"}
    assert await sync.apply(read(world, "b", "new")) == {"b"}


@pytest.mark.promise("1")
@pytest.mark.promise("6")
async def test_a_second_read_that_fails(world):
    """The first read stays and the third pass may confirm it; otherwise the area is failed."""
    attempt = await world.begin()
    assert await attempt.apply(read(world, "a"), read(world, "k", *OTHERS)) == {"a"}
    assert await attempt.store.count_due(a_pass(attempt, 2)) == 1
    await attempt.store.write_reads([failed(world, "a")], pass_number=2)
    (draft,) = (await attempt.drafts("a", pass_number=3)).values()
    assert (draft.areas[SAFETY].first is not None, draft.areas[SAFETY].records) == (True, 0)
    assert draft.areas[SAFETY].failure == FailureKind.TRANSIENT
    for areas, outages, persons in ((AREAS, AREAS, 1), (AREAS, (), 1), ((), AREAS, 0)):
        later = a_pass(attempt, 3, areas=areas, outages=outages)
        assert (await attempt.store.count_due(later), bool(later.due(draft))) == (
            persons,
            persons > 0,
        )
    assert [(one.area, one.persons) for one in await attempt.store.failures()] == [(SAFETY, 1)]
    assert await attempt.publish() == 3
    found = await world.rows(
        "SELECT failure_kind, http_status, reason FROM report_person_freshness "
        "WHERE failure_kind IS NOT NULL"
    )
    assert found == [("transient", 503, "status 503")]
    ((reason,),) = await world.rows("SELECT reason FROM report_run WHERE run_id = 2")
    assert "not read a second time" not in reason, "it was, and failed"


@pytest.mark.promise("6")
@pytest.mark.parametrize("end", ["interrupted", "withheld"])
async def test_a_failed_second_read_of_an_unpublished_run(world, end):
    """The failure is open, and a backfill of failures reads the area again."""
    attempt = await world.begin()
    assert await attempt.apply(read(world, "a"), read(world, "k")) == {"a", "k"}
    await attempt.store.write_reads([failed(world, "a")], pass_number=2)
    if end == "withheld":
        await attempt.store.withhold(WithheldError("too many"), RunProgress())
    else:
        await attempt.interrupt()
    (failure,) = await world.database.read(list_failures)
    assert (failure.person_key, failure.area, failure.kind, failure.reason) == (
        "a",
        SAFETY,
        "transient",
        "status 503",
    )
    selection = BackfillSelection(failed=True)
    backfill = await world.begin(RunKind.BACKFILL, selection=selection)
    assert await backfill.store.selected_areas(["a", "k"]) == {"a": {SAFETY}, "k": set()}


@pytest.mark.promise("6")
async def test_a_departed_person_is_read_by_a_backfill_of_stale_areas(world):
    """The departure closed the restrictions, so the earlier confirmation no longer counts."""
    for _ in range(2):
        world.fake.advance(3_600)
        await world.publish(read(world, "k", *OTHERS), limits=ANY)
    selection = BackfillSelection(stale_before=world.fake.now() - timedelta(days=1))
    backfill = await world.begin(RunKind.BACKFILL, selection=selection)
    selected = await backfill.store.selected_areas(["a", "k"])
    assert (selected["a"], selected["k"]) == ({*AREAS}, set())


@pytest.mark.promise("6")
async def test_whether_an_area_was_ever_answered(database_url):
    """By a publication or by this run; an empty answer shows nothing of records."""
    async with world_on(database_url) as world:
        attempt = await world.begin()
        assert not attempt.handle.answered
        await attempt.write(failed(world, "a"), read(world, "b"))
        attempt = await world.begin()
        assert attempt.handle.answered == {*AREAS}
        assert not attempt.handle.answered_with_record
        await attempt.write(read(world, "c", "x"))
        await attempt.publish()
        await world.publish(read(world, "c"), limits=ANY)  # the only record is gone
        assert (await world.begin()).handle.answered_with_record == {SAFETY}


@pytest.mark.promise("6")
@pytest.mark.parametrize(
    ("number", "outages", "waited_s", "is_due"),
    [
        (2, (), 59, False),
        (2, (), 60, True),
        (2, (SAFETY,), 0, True),
        (2, (PRIVACY,), 0, False),
        (3, (), 59, False),
        (3, (), 60, True),
        (3, (SAFETY,), 0, True),
    ],
)
async def test_a_person_who_is_told_to_wait(world, number, outages, waited_s, is_due):
    """The second pass skips the area until the time is over, unless an outage has asked for it."""
    attempt = await world.begin()
    retry_at = START + timedelta(seconds=60)
    await attempt.write(failed(world, "a", retry_at=retry_at))
    (draft,) = (await attempt.drafts("a", pass_number=number)).values()
    assert draft.areas[SAFETY].retry_at == retry_at
    at = START + timedelta(seconds=waited_s)
    later = a_pass(attempt, number, outages=outages, at=at)
    assert ([*later.due(draft)], await attempt.store.count_due(later)) == (
        [SAFETY] * is_due,
        is_due,
    )
