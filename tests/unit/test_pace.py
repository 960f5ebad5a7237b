"""The pace of requests: what may be sent when, which answers change it, and what is said of it."""

from datetime import timedelta

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.clock import FakeRuntime
from worker.pts.pace import CLEAN_S, MANY, OF_REFUSALS, OF_WAITS, Pace

pytestmark = pytest.mark.promise("7")


async def answer_all(pace: Pace, *statuses: int, first: int = 0, asked_s: float = 0.0) -> list[int]:
    """Answers to as many different persons, whose requests went together."""
    numbers = []
    for _ in statuses:
        numbers.append(await pace.enter())
        pace.leave()
    for person, (number, status) in enumerate(zip(numbers, statuses, strict=True), first):
        pace.answered(number, str(person), status=status, retry_after_s=asked_s)
    return numbers


async def started(group, pace, count, **kind):
    """The numbers of those of so many requests that have gone, as a list that grows."""
    numbers = []

    async def request():
        numbers.append(await pace.enter(**kind))

    for _ in range(count):
        group.start_soon(request)
    await anyio.wait_all_tasks_blocked()
    return numbers


@given(rate=st.floats(0.5, 500), gaps=st.lists(st.floats(0, 0.5), min_size=2, max_size=40))
async def test_the_ceiling_holds_in_every_second(rate, gaps):
    """However requests come, no second sees more than the rate and the burst of 5 % of it."""
    fake, moments = FakeRuntime(), []
    pace = Pace(rate, fake.runtime, concurrency=1)
    for gap_s in gaps:
        fake.advance(gap_s)
        await answer_all(pace, 200)
        moments.append(fake.monotonic())
    allowed = rate + max(1.0, 0.05 * rate) + 1e-6
    for moment in moments:
        assert sum(moment <= other < moment + 1.0 - 1e-6 for other in moments) <= allowed


async def test_a_turn_that_is_given_back():
    """Another request may have it at once, and one only."""
    fake = FakeRuntime()
    pace = Pace(10.0, fake.runtime)
    await pace.enter()
    pace.leave(is_unused=True)
    await pace.enter()
    assert fake.waits_s == []
    await pace.enter()
    assert sum(fake.waits_s) == pytest.approx(0.1)


async def test_no_more_at_once_than_the_ceiling():
    """Beyond it requests wait for one that leaves, and the first comes first."""
    pace = Pace(1e6, FakeRuntime().runtime, concurrency=2)
    async with anyio.create_task_group() as group:
        numbers = await started(group, pace, 4)
        assert numbers == [1, 2]
        pace.leave()
        await anyio.wait_all_tasks_blocked()
        assert numbers == [1, 2, 3]
        group.cancel_scope.cancel()
    pace.leave()
    pace.leave()
    async with anyio.create_task_group() as group:
        assert len(await started(group, pace, 2)) == 2, "who was cancelled has no place"


@pytest.mark.parametrize("status", [429, 503])
async def test_refusals_halve_the_pace_once_in_a_round_trip(status):
    """However many were under way; half a minute without another gives half as much again."""
    fake = FakeRuntime()
    pace = Pace(100.0, fake.runtime, concurrency=16)
    await answer_all(pace, *[status] * 16)
    assert (pace.rate, pace.limit) == (50.0, 8)
    for step, rate in enumerate((75.0, 100.0, 100.0)):
        fake.advance(0.9 * CLEAN_S)
        await answer_all(pace, 200)
        assert pace.rate < rate or step == 2
        fake.advance(0.1 * CLEAN_S)
        await answer_all(pace, 200)
        assert (pace.rate, pace.limit) == (rate, int(16 * rate / 100))


async def test_the_pace_has_a_floor():
    """Nobody who refuses everything brings it to a halt, and a ceiling below it is kept."""
    for ceiling, floor in ((100.0, 1.0), (0.5, 0.5)):
        pace = Pace(ceiling, FakeRuntime().runtime, concurrency=16)
        for night in range(20):
            await answer_all(pace, *[503] * MANY, first=night * MANY)
        assert (pace.rate, pace.limit >= 1) == (floor, True)


@pytest.mark.parametrize(
    "statuses",
    [[500] * 30, [502, 504, 408] * 10, [429, 503, *[200] * OF_REFUSALS] * 3],
    ids=["500", "gateway", "two of thirty"],
)
async def test_what_says_nothing_of_the_load(statuses):
    """Errors of PTS, and refusals of a few persons, leave the pace as it is."""
    pace = Pace(100.0, FakeRuntime().runtime, concurrency=16)
    for person, status in enumerate(statuses):
        await answer_all(pace, status, first=person)
    assert (pace.rate, pace.limit, pace.slowed_by()) == (100.0, 16, ())


async def test_persons_who_are_refused_again():
    """They may be refused for ever: only others slow it down further."""
    pace = Pace(100.0, FakeRuntime().runtime, concurrency=16)
    for _ in range(9):
        await answer_all(pace, *[200] * OF_REFUSALS, *[503] * 8)
        assert pace.rate == 50.0
    await answer_all(pace, *[503] * 8, first=100)
    assert pace.rate == 25.0


@pytest.mark.promise("6")
@pytest.mark.parametrize(
    ("persons", "is_paused"),
    [("abc", True), ("aba", False), ("ab" + OF_WAITS * "." + "c", False), ("a.......bc", True)],
)
async def test_retry_after_of_everybody(persons, is_paused):
    """Three of the last ten answers, to different persons, hold back all; fewer nobody."""
    pace = Pace(1e6, (fake := FakeRuntime()).runtime)
    for person in persons:
        status, asked_s = (200, 0.0) if person == "." else (500, 40.0)
        await answer_all(pace, status, first=ord(person), asked_s=asked_s)
    fake.waits_s.clear()
    await pace.enter()
    assert (sum(fake.waits_s) > 39) == is_paused


async def test_a_longer_pause_of_one_who_was_under_way():
    """It is kept as well; a shorter one changes nothing."""
    pace = Pace(100.0, (fake := FakeRuntime()).runtime)
    (*_, last) = await answer_all(pace, 503, 503, 503, asked_s=40.0)
    for asked_s in (60.0, 10.0):
        pace.answered(last, "0", status=503, retry_after_s=asked_s)
    began_s = fake.monotonic()
    await pace.enter()
    assert fake.monotonic() - began_s == pytest.approx(60.0)


async def test_only_probes_go_while_others_are_held():
    """One in so many seconds, counted from the last request; the others go on after the release."""
    fake = FakeRuntime()
    pace = Pace(1e6, fake.runtime, concurrency=4)
    await pace.enter()
    pace.hold(10.0)
    began_s = fake.monotonic()
    async with anyio.create_task_group() as group:
        numbers = await started(group, pace, 2)
        await pace.enter(is_probe=True)
        assert (numbers, fake.monotonic() - began_s) == ([], 10.0)
        pace.leave(is_unused=True)
        await pace.enter(is_probe=True, is_next=True)
        assert fake.monotonic() - began_s == 10.0, "it has waited already"
        pace.leave()
        pace.leave()
        with anyio.fail_after(10):
            await pace.drained()
        pace.release()
        await anyio.wait_all_tasks_blocked()
        assert numbers == [4, 5]


async def test_a_slow_run_says_why():
    """While all are paused or slower, in the log, and in the summary at the end."""
    fake = FakeRuntime()
    pace = Pace(20.0, fake.runtime, concurrency=8)
    assert (pace.slowness(), pace.slowed_by()) == ("", ())
    with capture_logs() as logs:
        await answer_all(pace, 429, 429, 429, asked_s=30.0)
    until = fake.runtime.now() + timedelta(seconds=30)
    assert pace.slowness() == f"PTS asked for a pause: waiting until {until:%H:%M:%S} UTC"
    fake.advance(31)
    assert pace.slowness() == "PTS refused requests: at most 10.0 requests/s"
    pace.hold(10.0)
    fake.advance(20)
    pace.release()
    (said,) = pace.slowed_by()
    assert said == (
        "slower than configured: PTS refused requests (429 or 503), down to 10.0 requests/s; it "
        "asked for pauses of 30 s (Retry-After); for 20 s nobody could be read"
    )
    assert [line["event"] for line in logs] == ["pts.pause", "pts.slower"]
    assert logs[0]["until"] == until.isoformat(timespec="seconds")
