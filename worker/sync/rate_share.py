"""This process's share of the ceiling on requests, while several work at one run.

The share is good for as long as the lease lasts. A process that slept past it asks PTS nothing
until it has looked again: what it had may be another's by now.
"""

from typing import Final, Protocol

import anyio

from worker.core.sharding import SECONDS_PER_HOUR
from worker.ports import Authorization, Authorizer, ChallengeResult, HttpResponse, RunStore, Runtime

_LOOK_S: Final = 0.2
_ROOM_S: Final = 1.0


class Pace(Protocol):
    """What keeps the pace of requests."""

    def set_rate(self, requests_per_second: float) -> None:
        """Change the ceiling."""
        ...

    def pause_for(self, seconds: float) -> None:
        """Hold every request back for that long; those already waiting queue anew."""
        ...


class RateShare:
    """The port ``RateBudget`` on a pace.

    Args:
        pace: of this process's requests.
        total_per_hour: the ceiling over all shards.
        runtime: clock and sleep.
    """

    def __init__(self, pace: Pace, total_per_hour: int, runtime: Runtime) -> None:
        self._pace = pace
        self._total_per_hour = total_per_hour
        self._runtime = runtime
        self._per_hour = 0
        self._until_s = 0.0
        self._turn = anyio.Lock()

    @property
    def total_per_hour(self) -> int:
        """The ceiling over all shards, in requests an hour."""
        return self._total_per_hour

    def is_usable(self) -> bool:
        """Whether PTS may be asked at all now."""
        return self._per_hour > 0 and self._runtime.monotonic() < self._until_s

    def use(self, per_hour: int, *, until_s: float) -> None:
        """See ``RateBudget.use``."""
        self._until_s = until_s
        before, self._per_hour = self._per_hour, per_hour
        if per_hour and per_hour != before:
            self._pace.set_rate(per_hour / SECONDS_PER_HOUR)
            if per_hour < before:
                # Those who wait have been given times at the old pace.
                self._pace.pause_for(SECONDS_PER_HOUR / per_hour)

    async def wait(self) -> None:
        """Return when PTS may be asked; at once, as a rule."""
        if self.is_usable():
            return
        async with self._turn:
            while not self.is_usable():
                await self._runtime.sleep(_LOOK_S)
            # One by one: the times that they were given have long gone by.
            await self._runtime.sleep(SECONDS_PER_HOUR / self._per_hour)


class SharingAuthorizer:
    """The port ``Authorizer`` that waits for the share before it makes a proof."""

    def __init__(self, authorizer: Authorizer, share: RateShare) -> None:
        self._authorizer = authorizer
        self._share = share

    async def authorize(self, method: str, url: str) -> Authorization:
        """See ``Authorizer.authorize``."""
        await self._share.wait()
        return await self._authorizer.authorize(method, url)

    def handle_challenge(
        self, url: str, used: Authorization, answer: HttpResponse
    ) -> ChallengeResult:
        """See ``Authorizer.handle_challenge``."""
        return self._authorizer.handle_challenge(url, used, answer)


async def wait_for_share(
    store: RunStore, share: RateShare, runtime: Runtime, stop: anyio.Event
) -> None:
    """Wait until the other shards have made room; they look whenever they renew their lease.

    Raises:
        LeaseLostError: another process took over this shard.
    """
    await store.renew()
    while not share.is_usable() and not stop.is_set():
        await runtime.sleep(_ROOM_S)
        await store.renew()
