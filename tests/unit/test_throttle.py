"""The pace of requests, kept by all together."""

import math
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FakeRuntime
from worker.pts.throttle import Throttle


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
    moments = await entries(Throttle(4.0, fake.runtime), fake, 5)
    assert [0.25] * 4 == [round(later - sooner, 6) for sooner, later in pairwise(moments)]


async def test_no_wait_when_slow():
    """Whoever is slower than the ceiling never sleeps."""
    fake = FakeRuntime()
    throttle = Throttle(4.0, fake.runtime)
    for _ in range(5):
        await throttle.enter()
        fake.advance(0.3)
    assert [] == fake.waits_s


async def test_a_small_burst():
    """5 % of a second's worth may go at once, and the mean still holds."""
    fake = FakeRuntime()
    moments = await entries(Throttle(100.0, fake.runtime), fake, 105)
    assert 5 == sum(moment == moments[0] for moment in moments)
    assert math.isclose(1.0, moments[-1] - moments[0])  # 105 - 5 requests at 100 per second


async def test_no_ceiling():
    """Without a ceiling nobody waits."""
    fake = FakeRuntime()
    await entries(Throttle(math.inf, fake.runtime), fake, 1000)
    assert [] == fake.waits_s


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
async def test_rates_that_make_no_sense(rate):
    """A ceiling is above 0."""
    with pytest.raises(ValueError, match="must be above 0"):
        Throttle(rate, FakeRuntime().runtime)


class SharedClock:
    """A clock that moves to the next alarm when everybody sleeps, as time does for several."""

    def __init__(self):
        self.now_s = 50.0
        self._alarms: list[tuple[float, anyio.Event]] = []
        self.runtime = replace(
            FakeRuntime().runtime, monotonic=lambda: self.now_s, sleep=self.sleep
        )

    async def sleep(self, wait_s):
        event = anyio.Event()
        self._alarms.append((self.now_s + wait_s, event))
        await event.wait()

    async def run(self):
        """Ring alarm after alarm until there are none."""
        await anyio.wait_all_tasks_blocked()
        while self._alarms:
            self._alarms.sort(key=itemgetter(0))
            self.now_s, event = self._alarms.pop(0)
            event.set()
            await anyio.wait_all_tasks_blocked()


async def test_everybody_waits_for_retry_after():
    """One answer with Retry-After holds back all, also those who wait for their turn, in order."""
    clock = SharedClock()
    throttle = Throttle(10.0, clock.runtime)
    moments = []

    async def request():
        await throttle.enter()
        moments.append(clock.now_s - 50.0)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(request)
        await anyio.wait_all_tasks_blocked()
        throttle.pushed_back(60.0)
        group.start_soon(request)
        await clock.run()
    assert [0.0, 60.0, 60.1, 60.2, 60.3] == [round(moment, 6) for moment in moments]


async def test_a_shorter_pause_does_not_end_a_longer_one():
    """Of several pauses the one that ends last counts, and none is clipped."""
    fake = FakeRuntime()
    throttle = Throttle(10.0, fake.runtime)
    start = fake.monotonic()
    throttle.pushed_back(7200.0)
    throttle.pushed_back(1.0)
    throttle.pushed_back(None)
    await throttle.enter()
    assert 7200.0 == fake.monotonic() - start


async def test_changed_rate():
    """A new ceiling counts from the next request on."""
    fake = FakeRuntime()
    throttle = Throttle(10.0, fake.runtime)
    await entries(throttle, fake, 2)
    throttle.set_rate(2.0)
    moments = await entries(throttle, fake, 3)
    assert math.isclose(0.5, moments[2] - moments[1])


@settings(deadline=None)
@given(
    rate=st.floats(0.5, 500),
    gaps=st.lists(st.floats(0, 0.5), min_size=2, max_size=60),
)
async def test_the_ceiling_holds_in_every_second(rate, gaps):
    """However requests come, no second sees more than the rate and the burst."""
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
