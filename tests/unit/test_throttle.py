"""The pace of requests, kept by all together."""

import math
import re
from datetime import timedelta
from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.clock import START, FakeRuntime
from tests.support.waits import SharedClock, started
from worker.pts.throttle import Throttle

pytestmark = pytest.mark.promise("7")


async def entries(throttle, fake, count):
    """The moments at which so many requests, one after another, may go."""
    moments = []
    for _ in range(count):
        await throttle.enter()
        moments.append(fake.monotonic())
    return moments


async def test_requests_are_spaced():
    """At 4 requests per second they go 0.25 s apart."""
    fake = FakeRuntime()
    throttle = Throttle(4.0, fake.runtime)
    moments = await entries(throttle, fake, 5)
    assert [round(later - sooner, 6) for sooner, later in pairwise(moments)] == [0.25] * 4


@pytest.mark.promise("6")
async def test_everybody_waits_for_retry_after():
    """One answer with Retry-After holds back all, also those who wait for their turn, in order."""
    clock = SharedClock()
    throttle = Throttle(10.0, clock.runtime)
    async with anyio.create_task_group() as group:
        await clock.begin(group, throttle, 4)
        throttle.pushed_back(60.0)  # the rate is halved, too
        throttle.pushed_back(1.0)
        throttle.pushed_back(None)
        await clock.begin(group, throttle, 1)
        await clock.run()
    assert clock.moments == [0.0, 60.0, 60.2, 60.4, 60.6]


@given(
    rate=st.floats(0.5, 500),
    gaps=st.lists(st.floats(0, 0.5), min_size=2, max_size=40),
)
async def test_the_ceiling_holds_in_every_second(rate, gaps):
    """However requests come, no second sees more than the rate and the burst of 5 % of it."""
    fake = FakeRuntime()
    throttle = Throttle(rate, fake.runtime)
    moments = []
    for gap in gaps:
        fake.advance(gap)
        await throttle.enter()
        moments.append(fake.monotonic())
    allowed = rate + max(1.0, 0.05 * rate) + 1e-6
    for moment in moments:
        assert sum(moment <= other < moment + 1.0 - 1e-6 for other in moments) <= allowed


async def test_no_more_at_once_than_the_ceiling():
    """Beyond the ceiling requests wait for one that leaves, and the first comes first."""
    throttle = Throttle(math.inf, FakeRuntime().runtime, concurrency=2)
    async with anyio.create_task_group() as group:
        numbers = await started(group, throttle, 4)
        assert numbers == [1, 2]
        throttle.leave()
        await anyio.wait_all_tasks_blocked()
        assert numbers == [1, 2, 3]
        throttle.leave()


@pytest.mark.parametrize(
    ("status", "concurrency", "rate"), [(503, 4.0, 500.0), (None, 4.0, 1000.0), (500, 8, 1000.0)]
)
async def test_a_round_trip_is_cut_once(status, concurrency, rate):
    """Eight that were under way together halve the pace once; a 500 says nothing about the load."""
    throttle = Throttle(1000.0, FakeRuntime().runtime, concurrency=8)
    numbers = [await throttle.enter() for _ in range(8)]
    for number in numbers:
        throttle.pushed_back(None, number, status=status)
        throttle.leave()
    assert (throttle.concurrency, throttle.rate) == (concurrency, rate)


async def test_a_place_is_never_lost():
    """Requests that are cancelled while they wait, in whichever queue, leave no place taken."""
    clock = SharedClock()
    throttle = Throttle(1.0, clock.runtime, concurrency=2)
    async with anyio.create_task_group() as group:
        await started(group, throttle, 5)  # one has its turn, one waits for it, three for a place
        group.cancel_scope.cancel()
    throttle.leave()
    async with anyio.create_task_group() as group:
        numbers = await started(group, throttle, 3)
        await clock.run()
        assert len(numbers) == 2
        group.cancel_scope.cancel()


async def personal(throttle):
    """A request that is refused ten times while many others are answered."""
    refused = None
    for _ in range(10):
        refused = throttle.pushed_back(None, await throttle.enter(), status=503, before=refused)
        throttle.leave()
        for _ in range(10):
            throttle.succeeded(await throttle.enter())
            throttle.leave()


@pytest.mark.promise("6")
async def test_certain_persons_slow_nobody_down():
    """What is refused each time, while others are answered, cuts nothing and holds nobody back."""
    fake = FakeRuntime()
    throttle = Throttle(1000.0, fake.runtime, concurrency=8)
    await personal(throttle)
    start_s = fake.monotonic()
    refused = throttle.pushed_back(60.0, await throttle.enter(), status=429)
    throttle.pushed_back(60.0, await throttle.enter(), status=429, before=refused)
    await throttle.enter()
    assert fake.monotonic() - start_s < 1.0
    assert (throttle.concurrency, throttle.rate) == (8, 1000.0)


async def test_long_pauses_are_logged():
    """With reason and end, once for all who were asked together; short ones are not."""
    fake = FakeRuntime(start=START)
    throttle = Throttle(1000.0, fake.runtime)
    with capture_logs() as logs:
        throttle.pushed_back(5.0, status=429)
        for _ in range(3):
            throttle.pushed_back(600.0, status=429)
            fake.advance(0.2)
    pauses = [line for line in logs if line["event"] == "pts.pause"]
    assert pauses == [
        {
            "event": "pts.pause",
            "log_level": "info",
            "reason": "status 429, Retry-After",
            "until": "2026-03-28T22:27:43+00:00",
            "concerns": "all",
        }
    ]


async def test_a_slowdown_says_why():
    """While all wait for ``Retry-After``, and while the pace is cut; nothing at full pace."""
    fake = FakeRuntime()
    throttle = Throttle(20.0, fake.runtime, concurrency=8)
    assert throttle.slowness() == ""
    for _ in range(40):
        throttle.succeeded(await throttle.enter())
        throttle.leave()
    throttle.pushed_back(30.0, await throttle.enter())
    throttle.leave()
    until = (fake.runtime.now() + timedelta(seconds=30)).strftime("%H:%M:%S")
    assert throttle.slowness() == f"status 429, Retry-After: waiting until {until} UTC"
    fake.advance(31)
    assert re.fullmatch(r"status 429: at most [0-9.]+ requests/s", throttle.slowness())
