"""What is asked of the worker's manners: one simulated course each, for tests and curves."""

from dataclasses import dataclass
from functools import cache

from tests.support.politeness.world import Course, Server, simulate

WARM_UP_S = 60.0
"""After so long the worker must have settled."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A server's limit, and the ceiling that the worker was given instead of it."""

    rate: float
    ceiling: float
    burst: float
    latency_s: float = 0.05
    retry_after_s: float | None = None

    def __str__(self):
        reported = "" if self.retry_after_s is None else f", Retry-After {self.retry_after_s:g}"
        return f"{self.rate:g} of {self.ceiling:g}/s, burst {self.burst:g}{reported}"


LIMITS = (
    Limit(rate=3, ceiling=20, burst=3),
    Limit(rate=10, ceiling=50, burst=10),
    Limit(rate=50, ceiling=1000, burst=50),
    Limit(rate=200, ceiling=1000, burst=200),
)
OTHER_LIMITS = (
    Limit(rate=3, ceiling=50, burst=1),
    Limit(rate=10, ceiling=1000, burst=100, latency_s=0.3),
    Limit(rate=18, ceiling=20, burst=18, latency_s=0.2),
    Limit(rate=50, ceiling=1000, burst=5, retry_after_s=1),
    Limit(rate=200, ceiling=5000, burst=20, retry_after_s=1),
)


@cache
def settling(limit: Limit) -> Course:
    """Ten minutes or more, before a server that sustains a rate unknown to the worker."""
    server = Server(
        rate=limit.rate,
        burst=limit.burst,
        latency_s=limit.latency_s,
        retry_after_s=limit.retry_after_s,
    )
    requests = int(min(20_000, 600 * limit.rate))
    return simulate(server, ceiling=limit.ceiling, requests=requests)


FALLS_S, RISES_S = 120.0, 300.0


@cache
def falling_and_rising() -> Course:
    """The server sustains 50, then 10, then 50 requests a second."""
    changes = {FALLS_S: {"rate": 10.0, "burst": 10.0}, RISES_S: {"rate": 50.0, "burst": 50.0}}
    server = Server(rate=50, burst=50)
    return simulate(server, ceiling=100, requests=10**9, seconds=600, changes=changes)
