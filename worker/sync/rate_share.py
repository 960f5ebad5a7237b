"""This process's share of the rate limit when several shards work on one run.

The share is valid as long as the lease. A process that sleeps past it sends nothing until it has a
new share: another process may have taken the old one.
"""

from typing import Final, Protocol

import anyio

from worker.core.sharding import SECONDS_PER_HOUR
from worker.ports import Authorization, Authorizer, ChallengeResult, HttpResponse, RunStore, Runtime

_POLL_S: Final = 0.2
_RENEW_S: Final = 1.0


class Pace(Protocol):
    """A rate limiter for requests."""

    def set_rate(self, requests_per_second: float) -> None:
        """Change the ceiling."""
        ...

    def pause_for(self, seconds: float) -> None:
        """Hold back every request for that long; waiting requests are rescheduled."""
        ...


class RateShare:
    """The port ``RateBudget`` on a rate limiter.

    Attributes:
        total_per_hour: the ceiling over all shards, in requests an hour.
    """

    def __init__(self, pace: Pace, total_per_hour: int, runtime: Runtime) -> None:
        self._pace = pace
        self.total_per_hour = total_per_hour
        self._runtime = runtime
        self._per_hour = 0
        self._until_s = 0.0
        self._lock = anyio.Lock()

    def is_usable(self) -> bool:
        """Whether requests may be sent now."""
        return self._per_hour > 0 and self._runtime.monotonic() < self._until_s

    def use(self, per_hour: int, *, until_s: float) -> None:
        """See ``RateBudget.use``."""
        self._until_s = until_s
        before, self._per_hour = self._per_hour, per_hour
        if per_hour and per_hour != before:
            self._pace.set_rate(per_hour / SECONDS_PER_HOUR)
            if per_hour < before:
                # Waiting requests were scheduled at the old rate.
                self._pace.pause_for(SECONDS_PER_HOUR / per_hour)

    async def wait(self) -> None:
        """Wait until requests may be sent; usually returns at once."""
        if self.is_usable():
            return
        async with self._lock:
            while not self.is_usable():
                await self._runtime.sleep(_POLL_S)
            # One at a time: the scheduled send times have passed.
            await self._runtime.sleep(SECONDS_PER_HOUR / self._per_hour)


class SharingAuthorizer:
    """The port ``Authorizer``; waits for the share before it makes a DPoP proof."""

    def __init__(self, authorizer: Authorizer, share: RateShare) -> None:
        self._authorizer = authorizer
        self._share = share

    async def authorize(self, method: str, url: str) -> Authorization:
        """See ``Authorizer.authorize``."""
        await self._share.wait()
        return await self._authorizer.authorize(method, url)

    def handle_challenge(
        self, url: str, used: Authorization, response: HttpResponse
    ) -> ChallengeResult:
        """See ``Authorizer.handle_challenge``."""
        return self._authorizer.handle_challenge(url, used, response)


async def wait_for_share(
    store: RunStore, share: RateShare, runtime: Runtime, stop: anyio.Event
) -> None:
    """Wait until the other shards release their excess, which they do on lease renewal.

    Raises:
        LeaseLostError: another process took over this shard.
    """
    await store.renew()
    while not share.is_usable() and not stop.is_set():
        await runtime.sleep(_RENEW_S)
        await store.renew()
