"""Requests that go at the pace, and what is said of it."""

from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.clock import START, FakeRuntime
from worker.pts.throttle import Throttle

pytestmark = pytest.mark.promise("7")


async def started(group, throttle, count, **kind):
    """The numbers of those of so many requests that have gone, as a list that grows."""
    numbers = []

    async def request():
        numbers.append(await throttle.enter(**kind))

    for _ in range(count):
        group.start_soon(request)
    await anyio.wait_all_tasks_blocked()
    return numbers


async def test_no_more_at_once_than_the_ceiling():
    """Beyond it requests wait for one that leaves, and the first comes first."""
    throttle = Throttle(1e6, FakeRuntime().runtime, concurrency=2)
    async with anyio.create_task_group() as group:
        numbers = await started(group, throttle, 4)
        assert numbers == [1, 2]
        throttle.leave()
        await anyio.wait_all_tasks_blocked()
        assert numbers == [1, 2, 3]
        group.cancel_scope.cancel()
    throttle.leave()
    throttle.leave()
    async with anyio.create_task_group() as group:
        assert len(await started(group, throttle, 2)) == 2, "who was cancelled has no place"


async def test_only_probes_go_while_others_are_held():
    """Requests under way finish first; those that wait go on after the release."""
    fake = FakeRuntime()
    throttle = Throttle(1e6, fake.runtime, concurrency=4)
    await throttle.enter()
    throttle.hold(10.0)
    began_s = fake.monotonic()
    async with anyio.create_task_group() as group:
        numbers = await started(group, throttle, 2)
        await throttle.enter(is_probe=True)
        assert (numbers, fake.monotonic() - began_s) == ([], 10.0)
        throttle.leave()
        throttle.leave()
        with anyio.fail_after(10):
            await throttle.drained()
        throttle.release()
        await anyio.wait_all_tasks_blocked()
        assert numbers == [3, 4]


async def test_a_slow_run_says_why():
    """While all are paused or slower, in the log, and in the summary at the end."""
    fake = FakeRuntime(start=START)
    throttle = Throttle(20.0, fake.runtime, concurrency=8)
    assert (throttle.slowness(), throttle.slowed_by()) == ("", ())
    with capture_logs() as logs:
        for person in range(3):
            number = await throttle.enter()
            throttle.answered(number, str(person), status=429, retry_after_s=30.0)
    until = fake.runtime.now() + timedelta(seconds=30)
    assert throttle.slowness() == f"PTS asked for a pause: waiting until {until:%H:%M:%S} UTC"
    fake.advance(31)
    assert throttle.slowness() == "PTS refused requests: at most 10.0 requests/s"
    throttle.hold(10.0)
    fake.advance(20)
    throttle.release()
    (said,) = throttle.slowed_by()
    assert said == (
        "slower than configured: PTS refused requests (429 or 503), down to 10.0 requests/s; it "
        "asked for pauses of 30 s (Retry-After); for 20 s nobody could be read"
    )
    assert [line["event"] for line in logs] == ["pts.slower", "pts.pause"]
    assert logs[1]["until"] == until.isoformat(timespec="seconds")
