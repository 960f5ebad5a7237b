"""Requests that wait for a throttle, on clocks that the test moves."""

from operator import itemgetter

import anyio
from msgspec.structs import replace

from tests.support.clock import FakeRuntime


class SharedClock:
    """A clock that moves to the next alarm when everybody sleeps, as time does for several."""

    def __init__(self):
        self.now_s = 50.0
        self.moments: list[float] = []
        self._alarms: list[tuple[float, anyio.Event]] = []
        self.runtime = replace(
            FakeRuntime().runtime, monotonic=lambda: self.now_s, sleep=self.sleep
        )

    async def sleep(self, wait_s):
        event = anyio.Event()
        self._alarms.append((self.now_s + wait_s, event))
        await event.wait()

    async def begin(self, group, throttle, count):
        """Let so many requests begin; ``moments`` tells when each went, from the start."""

        async def request():
            await throttle.enter()
            self.moments.append(round(self.now_s - 50.0, 6))
            await self.sleep(0.05)
            throttle.leave()

        for _ in range(count):
            group.start_soon(request)
        await anyio.wait_all_tasks_blocked()

    async def run(self):
        """Ring alarm after alarm until there are none."""
        await anyio.wait_all_tasks_blocked()
        while self._alarms:
            self._alarms.sort(key=itemgetter(0))
            self.now_s, event = self._alarms.pop(0)
            event.set()
            await anyio.wait_all_tasks_blocked()


async def started(group, throttle, count):
    """So many requests that have their turn or wait for it; the numbers of those that have it."""
    numbers = []

    async def request():
        numbers.append(await throttle.enter())

    for _ in range(count):
        group.start_soon(request)
    await anyio.wait_all_tasks_blocked()
    return numbers
