"""The pace of requests: what may be sent when, which answers change it, and what is said of it."""

from datetime import timedelta

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.clock import FakeRuntime
from worker.pts.pace import CLEAN_S, PERSONS_MIN, REFUSALS_WINDOW, WAITS_WINDOW, Pace

pytestmark = pytest.mark.promise("7")


async def sent(pace: Pace) -> float:
    """One request, sent in its turn."""
    async with pace.turn:
        await pace.wait()
        pace.sent()
        return pace.last_sent_s


async def answer_all(
    pace: Pace, *statuses: int, first: int = 0, asked_s: float = 0.0
) -> list[float]:
    """Answers to as many different persons, whose requests went together."""
    sent_s = [await sent(pace) for _ in statuses]
    for person, status in enumerate(statuses, first):
        pace.answered(str(person), status=status, retry_after_s=asked_s)
    return sent_s


@given(rate=st.floats(0.5, 500), gaps=st.lists(st.floats(0, 0.5), min_size=2, max_size=40))
async def test_the_ceiling_holds_in_every_second(rate, gaps):
    """However requests come, a burst exceeds the rate by one request, or by 2 %."""
    fake, moments = FakeRuntime(), []
    pace = Pace(rate, fake.runtime)
    for gap_s in gaps:
        fake.advance(gap_s)
        await answer_all(pace, 200)
        moments.append(fake.monotonic())
    allowed = rate + max(1.0, 0.02 * rate) + 1e-6
    for moment in moments:
        assert sum(moment <= other < moment + 1.0 - 1e-6 for other in moments) <= allowed


async def test_requests_that_waited_for_a_token_do_not_go_together():
    """However long they waited, they are sent one by one."""
    fake = FakeRuntime()
    pace = Pace(10.0, fake.runtime)
    fake.advance(8.0)
    began_s = fake.monotonic()
    assert [await sent(pace) - began_s for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


async def test_a_pause_that_begins_while_a_request_waits():
    """The request waits for its end, too."""
    fake = FakeRuntime()
    pace = Pace(1.0, fake.runtime)
    moments: list[float] = []

    async def request() -> None:
        moments.append(await sent(pace))

    began_s = await sent(pace)
    async with anyio.create_task_group() as group:
        group.start_soon(request)
        await anyio.lowlevel.checkpoint()
        for person in "abc":
            pace.answered(person, status=503, retry_after_s=40.0)
    assert moments[0] >= began_s + 40.0


@pytest.mark.promise("6")
async def test_pauses_that_are_too_long_together():
    """Beyond `sync.retry_after_max` without an answer in between they are not obeyed."""
    pace = Pace(100.0, (fake := FakeRuntime()).runtime, wait_s_max=100.0)
    for asked_s, is_paused in ((101.0, False), (60.0, True), (40.0, True), (41.0, False)):
        for person in "abc":
            pace.answered(person, status=503, retry_after_s=asked_s)
        assert pace.is_paused == is_paused
        fake.advance(asked_s if is_paused else 0.0)
    pace.answered("d", status=200)
    for person in "abc":
        pace.answered(person, status=503, retry_after_s=60.0)
    assert pace.is_paused


async def test_retries_of_a_few_persons_do_not_slow_the_pace():
    """They were refused a moment ago, and may be for ever."""
    pace = Pace(100.0, FakeRuntime().runtime)
    for person in "abcabcabc":
        await sent(pace)
        pace.answered(person, status=503, is_retry=True)
    assert pace.rate == 100.0


@pytest.mark.parametrize("status", [429, 503])
async def test_refusals_halve_the_rate_once_in_thirty_responses(status):
    """Half a minute without a further refusal raises it by half."""
    fake = FakeRuntime()
    pace = Pace(100.0, fake.runtime)
    for person in range(PERSONS_MIN + REFUSALS_WINDOW - 1):
        await answer_all(pace, status, first=person)
        assert pace.rate == (100.0 if person < PERSONS_MIN - 1 else 50.0)
    await answer_all(pace, status, first=REFUSALS_WINDOW)
    assert pace.rate == 25.0
    for step, rate in enumerate((37.5, 56.25, 84.375, 100.0, 100.0)):
        fake.advance(0.9 * CLEAN_S)
        await answer_all(pace, 200)
        assert pace.rate < rate or step == 4
        fake.advance(0.1 * CLEAN_S)
        await answer_all(pace, 200)
        assert pace.rate == rate


async def test_the_pace_has_a_floor():
    """Nobody who refuses everything brings it to a halt, and a ceiling below it is kept."""
    for ceiling, floor in ((100.0, 1.0), (0.5, 0.5)):
        pace = Pace(ceiling, FakeRuntime().runtime)
        await answer_all(pace, *[503] * (10 * REFUSALS_WINDOW))
        assert pace.rate == floor


@pytest.mark.parametrize(
    "statuses",
    [[500] * 30, [502, 504, 408] * 10, [429, 503, *[200] * REFUSALS_WINDOW] * 3],
    ids=["500", "gateway", "two of thirty"],
)
async def test_what_says_nothing_of_the_load(statuses):
    """Errors of PTS, and refusals of a few persons, leave the pace as it is."""
    pace = Pace(100.0, FakeRuntime().runtime)
    for person, status in enumerate(statuses):
        await answer_all(pace, status, first=person)
    assert (pace.rate, pace.slowed_by()) == (100.0, ())


@pytest.mark.promise("6")
@pytest.mark.parametrize(
    ("persons", "is_paused"),
    [("abc", True), ("aba", False), ("ab" + WAITS_WINDOW * "." + "c", False), ("a.......bc", True)],
)
async def test_retry_after_of_everybody(persons, is_paused):
    """Three of the last ten answers, to different persons, hold back all; fewer nobody."""
    pace = Pace(1e6, (fake := FakeRuntime()).runtime)
    for person in persons:
        status, asked_s = (200, 0.0) if person == "." else (500, 40.0)
        await answer_all(pace, status, first=ord(person), asked_s=asked_s)
    fake.waits_s.clear()
    await sent(pace)
    assert (sum(fake.waits_s) > 39) == is_paused


async def test_a_longer_pause_of_one_who_was_under_way():
    """It is kept as well; a shorter one changes nothing."""
    pace = Pace(100.0, (fake := FakeRuntime()).runtime)
    await answer_all(pace, 503, 503, 503, asked_s=40.0)
    pace.answered("0", status=503, retry_after_s=60.0)
    for person in range(WAITS_WINDOW):
        pace.answered(str(person), status=503, retry_after_s=10.0)
    began_s = fake.monotonic()
    await sent(pace)
    assert fake.monotonic() - began_s == pytest.approx(60.0)


async def test_a_slow_run_says_why():
    """While all are paused or slower, in the log, and in the summary at the end."""
    fake = FakeRuntime()
    pace = Pace(20.0, fake.runtime)
    assert (pace.slowness(), pace.slowed_by()) == ("", ())
    with capture_logs() as logs:
        await answer_all(pace, 429, 429, 429, asked_s=30.0)
    until = fake.runtime.now() + timedelta(seconds=30)
    assert pace.slowness() == f"PTS asked for a pause: waiting until {until:%H:%M:%S} UTC"
    fake.advance(31)
    assert pace.slowness() == "PTS refused requests: at most 10.0 requests/s"
    assert pace.slowed_by() == (
        "PTS refused requests (429 or 503), down to 10.0 requests/s",
        "PTS asked for pauses of 30 s in total (Retry-After)",
    )
    assert pace.paused_s() == 30.0
    assert [line["event"] for line in logs] == ["pts.pause", "pts.slower"]
    assert logs[0]["until"] == until.isoformat(timespec="seconds")
