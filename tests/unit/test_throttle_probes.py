"""The circuit: single requests and known-good reads, and how it ends or closes."""

import math
from datetime import UTC, datetime
from itertools import pairwise

import anyio
import pytest

from tests.support.clock import FakeRuntime
from tests.support.waits import started
from worker.errors import UnavailableError
from worker.pts.throttle import Throttle

pytestmark = pytest.mark.promise("6")

UNTIL = datetime(2026, 3, 29, 6, 0, tzinfo=UTC)


class Witness:
    """Known-good reads for a throttle; a probe begins when the test says so."""

    def __init__(self, throttle):
        self.doubts = 0
        throttle.watch(self.begin)

    def begin(self):
        self.doubts += 1
        return True


async def open_circuit(throttle, status=503):
    """Let as many attempts fail as open the circuit."""
    while not throttle.is_open:
        throttle.pushed_back(None, await throttle.enter(), status=status)
        throttle.leave()


@pytest.mark.parametrize("is_probe", [False, True])
async def test_an_outage_ends_it(is_probe):
    """After 20 failures the probe, or single requests, try after 1, 3 and 9 s; then nobody may."""
    fake = FakeRuntime()
    throttle = Throttle(math.inf, fake.runtime, concurrency=8)
    throttle.set_probes(3)
    if is_probe:
        Witness(throttle)
    await open_circuit(throttle)
    moments = [fake.monotonic()]
    with pytest.raises(UnavailableError, match="23 requests in a row failed"):  # noqa: PT012
        while True:
            number = await throttle.enter(is_probe=is_probe)
            moments.append(fake.monotonic())
            throttle.pushed_back(None, number, status=503)
            throttle.leave()
    assert [round(b - a, 6) for a, b in pairwise(moments)] == [1.0, 3.0, 9.0]
    with pytest.raises(UnavailableError):
        await throttle.enter()


async def test_all_who_wait_hear_of_the_end():
    """When the last probe fails, everyone who waits for a place learns it at once."""
    throttle = Throttle(math.inf, FakeRuntime().runtime, concurrency=1)
    throttle.set_probes(1)
    await open_circuit(throttle, status=500)
    number = await throttle.enter()
    heard = []

    async def request():
        try:
            await throttle.enter()
        except UnavailableError as error:
            heard.append(error.exit_code)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(request)
        await anyio.wait_all_tasks_blocked()
        assert heard == []
        throttle.pushed_back(None, number, status=500)
    assert heard == [69, 69, 69]


async def test_a_probe_goes_before_all_others():
    """While a known-good read is to come nobody else goes; when it is answered all may, as fast."""
    fake = FakeRuntime()
    throttle = Throttle(1000.0, fake.runtime, concurrency=8)
    throttle.set_probes(4)
    witness = Witness(throttle)
    await open_circuit(throttle)
    start_s = fake.monotonic()
    async with anyio.create_task_group() as group:
        numbers = await started(group, throttle, 3)
        assert (numbers, witness.doubts) == ([], 1)
        number = await throttle.enter(is_probe=True)
        assert fake.monotonic() - start_s >= 1.0
        await anyio.wait_all_tasks_blocked()
        assert numbers == []
        throttle.succeeded(number)
        throttle.leave()
        throttle.probed(is_read=True)
        await anyio.wait_all_tasks_blocked()
        assert len(numbers) == 3
    assert (throttle.is_open, throttle.concurrency, throttle.rate) == (False, 8, 1000.0)


async def test_a_long_quiet_ends_it():
    """Where nothing was read that could speak for PTS, a long Retry-After is the end."""
    throttle = Throttle(10.0, FakeRuntime().runtime)
    throttle.asked_for_quiet(UNTIL, await throttle.enter())
    with pytest.raises(UnavailableError, match=r"quiet until 2026-03-29T06:00:00\+00:00"):
        await throttle.enter()


async def test_a_long_quiet_for_everybody_ends_it():
    """So it is if the probe is refused, and once: PTS has asked for quiet."""
    throttle = Throttle(10.0, FakeRuntime().runtime, concurrency=4)
    throttle.set_probes(4)
    Witness(throttle)
    throttle.asked_for_quiet(UNTIL, await throttle.enter())
    throttle.leave()
    throttle.check()
    throttle.pushed_back(None, await throttle.enter(is_probe=True), status=503)
    with pytest.raises(UnavailableError, match="quiet until"):
        throttle.check()


async def test_a_long_quiet_for_few():
    """If the probe is answered it concerned those alone; what was sent before says nothing."""
    throttle = Throttle(10.0, FakeRuntime().runtime, concurrency=4)
    witness = Witness(throttle)
    earlier, number = await throttle.enter(), await throttle.enter()
    throttle.asked_for_quiet(UNTIL, number)
    throttle.succeeded(earlier)
    throttle.leave()
    throttle.leave()
    assert throttle.is_open
    throttle.succeeded(await throttle.enter(is_probe=True))
    throttle.probed(is_read=True)
    throttle.leave()
    throttle.asked_for_quiet(UNTIL, await throttle.enter())
    throttle.leave()
    await throttle.enter()
    assert (throttle.is_open, witness.doubts) == (False, 1)


@pytest.mark.parametrize("is_answered", [True, False])
async def test_a_long_quiet_before_anybody_was_read(is_answered):
    """Nobody can speak for PTS yet, but those who are under way: their answers are waited for."""
    throttle = Throttle(10.0, FakeRuntime().runtime, concurrency=4)
    first, second = [await throttle.enter() for _ in range(2)]
    throttle.asked_for_quiet(UNTIL, second)
    throttle.leave()
    assert throttle.is_open
    if is_answered:
        throttle.succeeded(first)
    throttle.leave()
    if is_answered:
        await throttle.enter()
        assert not throttle.is_open
    else:
        with pytest.raises(UnavailableError, match="quiet until"):
            await throttle.enter()
