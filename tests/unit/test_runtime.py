"""The real runtime, and the fake one that tests use."""

import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from tests.fakes import START, FakeRuntime
from worker.runtime import real_runtime


async def test_real_runtime_is_the_real_world():
    """UTC wall clock, a clock that goes on, randomness in [0, 1), distinct ids, a real sleep."""
    runtime = real_runtime()
    before = time.monotonic()
    await runtime.sleep(0.01)
    assert runtime.monotonic() - before >= 0.01
    assert runtime.now().utcoffset() == timedelta(0)
    assert abs(runtime.now() - datetime.now(UTC)) < timedelta(seconds=5)
    drawn = {runtime.uniform() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= one < 1 for one in drawn)
    assert len({runtime.new_id() for _ in range(100)}) == 100


async def test_fake_sleep_takes_no_time_but_tells():
    """Sleeping advances both clocks, records the wait and lets others run."""
    fake = FakeRuntime()
    start_s = fake.runtime.monotonic()
    await fake.runtime.sleep(90)
    assert fake.runtime.now() == START + timedelta(seconds=90)
    assert fake.runtime.monotonic() == start_s + 90
    assert fake.waits_s == [90]


async def test_fake_sleep_can_be_cancelled():
    """A cancelled scope ends even a loop that only sleeps."""
    fake = FakeRuntime()
    with anyio.move_on_after(0.05) as scope:
        while True:
            await fake.runtime.sleep(1)
    assert scope.cancelled_caught


def test_fake_values_are_foreseeable():
    """Ids count up, random values come as given, the wall clock can be corrected alone."""
    fake = FakeRuntime(uniforms=(0.0, 0.9))
    ids = [fake.runtime.new_id(), fake.runtime.new_id()]
    assert ids == ["id-1", "id-2"]
    assert [fake.runtime.uniform() for _ in range(3)] == [0.0, 0.9, 0.0]
    steady_s = fake.runtime.monotonic()
    fake.set_wall_clock(START - timedelta(minutes=5))
    assert fake.runtime.now() == START - timedelta(minutes=5)
    assert fake.runtime.monotonic() == pytest.approx(steady_s)
