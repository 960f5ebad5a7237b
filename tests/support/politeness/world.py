"""A server with limits of its own, asked by real senders in the simulation's time.

Everything from ``RetryingClient`` down to the pace is the worker's own code; only the transport,
the authorization and the clock are made up. The worker knows none of the server's numbers. The
server is not the stand-in, which has a socket: with one no time is virtual, and these courses take
hours.
"""

import asyncio
import logging
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from msgspec.structs import replace

from tests.support.clock import START
from tests.support.simulation.loop import Clock, run_simulated
from worker.core.retry import RetryPolicy
from worker.errors import TransientError, WorkerError
from worker.ports import Authorization, ChallengeResult, HttpResponse
from worker.pts.retrying_client import Question, RetryingClient, SendingStats
from worker.pts.throttle import Throttle

OK, REFUSED, AWAY, LOST, SPOILT = 200, 429, 503, 0, 500


@dataclass(kw_only=True)
class Server:
    """A token bucket before a service.

    Attributes:
        rate: requests per second that it sustains.
        burst: requests that it saves up for while idle.
        latency_s: how long one answer takes, on average.
        retry_after_s: what it tells those that it refuses; ``None``: nothing.
        failing: share of requests that it spoils, whatever the rate.
        failing_every: every so many things it spoils each request for that thing; 0: none.
        is_away: it answers everybody with 503.
        is_silent: it does not answer, and the request runs into its time-out.
    """

    rate: float = math.inf
    burst: float = 1.0
    latency_s: float = 0.05
    retry_after_s: float | None = None
    failing: float = 0.0
    failing_every: int = 0
    failing_status: int = SPOILT
    is_away: bool = False
    is_silent: bool = False
    timeout_s: float = 10.0

    def __post_init__(self):
        self._tokens = self.burst
        self._filled_s = 0.0
        self._random = random.Random(7)

    async def serve(self, now_s: float, thing: int = 0) -> int:
        """Answer one request; the status, 0 for none."""
        if self.is_silent:
            await asyncio.sleep(self.timeout_s)
            return LOST
        if self.is_away or not self._admits(now_s):
            await asyncio.sleep(self.latency_s * self._random.uniform(0.2, 0.4))
            return AWAY if self.is_away else REFUSED
        await asyncio.sleep(self.latency_s * self._random.uniform(0.6, 1.4))
        if self.failing_every and thing % self.failing_every == 1:
            return self.failing_status
        return self.failing_status if self._random.random() < self.failing else OK

    def _admits(self, now_s: float) -> bool:
        if math.isinf(self.rate):
            return True
        self._tokens = min(self.burst, self._tokens + (now_s - self._filled_s) * self.rate)
        self._filled_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


@dataclass(kw_only=True)
class Course:
    """What happened.

    Attributes:
        requests: moment of sending and status of each attempt, in order of their ends.
        places: moment, and how many requests the worker let be under way, each half second.
        rates: moment, and the worker's own pace.
        gaps: requests given up after their attempts, or without budget for more.
        ending: why it ended before all was asked.
        stats: the client's own figures.
        elapsed_s: how long it took.
    """

    requests: list[tuple[float, int]] = field(default_factory=list)
    places: list[tuple[float, float]] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)
    gaps: int = 0
    ending: WorkerError | None = None
    stats: SendingStats = field(default_factory=SendingStats)
    elapsed_s: float = 0.0

    def count(self, *statuses: int, start_s: float = 0.0, end_s: float = math.inf) -> int:
        """Attempts sent in that time with one of these statuses; without any, all."""
        wanted = set(statuses)
        return sum(
            start_s <= at_s < end_s and (not wanted or status in wanted)
            for at_s, status in self.requests
        )

    def refused_share(self, start_s: float = 0.0, end_s: float = math.inf) -> float:
        """Refused requests among all of that time."""
        return self.count(REFUSED, AWAY, start_s=start_s, end_s=end_s) / self.count(
            start_s=start_s, end_s=end_s
        )

    def accepted_per_s(self, start_s: float, end_s: float) -> float:
        """Requests per second that were answered as they should."""
        return self.count(OK, start_s=start_s, end_s=end_s) / (end_s - start_s)


Changes = Mapping[float, Mapping[str, Any]]


def simulate(
    server: Server,
    *,
    ceiling: float,
    requests: int = 20_000,
    concurrency: int = 16,
    attempts: int = 5,
    seconds: float = math.inf,
    changes: Changes | None = None,
) -> Course:
    """Send the server this many requests, with that many readers.

    Args:
        server: whom to ask.
        ceiling: ``sync.requests_per_second``.
        requests: things to ask.
        concurrency: ``sync.concurrency``.
        attempts: ``sync.retry_attempts``.
        seconds: when to stop at the latest.
        changes: what becomes of the server, by the moment.
    """
    course = Course()
    work = _Work(server=server, course=course, ceiling=ceiling, concurrency=concurrency)
    things = iter(range(requests))
    with _quiet():
        run_simulated(
            lambda _loop: work.carry_out(things, attempts, seconds, changes or {}),
            work.clock,
            random.Random(1),
        )
    return course


@contextmanager
def _quiet():
    """Twenty thousand requests have a lot to say."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


@dataclass(kw_only=True)
class _Work:
    server: Server
    course: Course
    ceiling: float
    concurrency: int
    clock: Clock = field(default_factory=lambda: Clock(START))

    async def carry_out(self, things: Iterator[int], attempts, seconds, changes: Changes):
        loop = asyncio.get_running_loop()
        runtime = replace(self.clock.runtime(), uniform=random.Random(3).random)
        throttle = Throttle(self.ceiling, runtime, concurrency=self.concurrency)
        client = RetryingClient(
            transport=self,
            authorizer=_Open(),
            throttle=throttle,
            policy=RetryPolicy(attempts_max=attempts),
            runtime=runtime,
        )
        for at_s, change in changes.items():
            loop.call_at(at_s, vars(self.server).update, change)
        watching = asyncio.create_task(self._watch(throttle))
        readers = [asyncio.create_task(self._read(client, things)) for _ in range(self.concurrency)]
        timeout = None if math.isinf(seconds) else seconds
        await asyncio.wait(readers, timeout=timeout, return_when=asyncio.FIRST_EXCEPTION)
        for task in (watching, *readers):
            task.cancel()
        ends = await asyncio.gather(*readers, return_exceptions=True)
        self.course.ending = next((end for end in ends if isinstance(end, WorkerError)), None)
        self.course.stats = client.stats
        self.course.elapsed_s = self.clock.elapsed_s

    async def _read(self, client: RetryingClient, things: Iterator[int]):
        for thing in things:
            if not await self._is_read(client, thing):
                self.course.gaps += 1

    async def _is_read(self, client: RetryingClient, thing: int) -> bool:
        """Whether it was answered, if need be after a wait that was asked for."""
        for is_again in (False, True):
            try:
                question = Question(who=str(thing), is_probe=is_again)
                await client.send(question, "https://pts.example/", dict, b"%d" % thing)
            except TransientError as error:
                await asyncio.sleep(error.retry_after_s)
            else:
                return True
        return False

    async def _watch(self, throttle: Throttle):
        while True:
            now_s = self.clock.elapsed_s
            self.course.places.append((now_s, throttle.pace.limit))
            self.course.rates.append((now_s, throttle.pace.rate))
            await asyncio.sleep(0.5)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """The port ``HttpTransport``."""
        sent_s = self.clock.elapsed_s
        status = await self.server.serve(sent_s, int(body))
        self.course.requests.append((sent_s, status))
        if status == LOST:
            raise TransientError("no whole answer in time (TimeoutError)")
        wait_s = self.server.retry_after_s if status in {REFUSED, AWAY} else None
        reported = {} if wait_s is None else {"retry-after": (f"{wait_s:g}",)}
        return HttpResponse(status=status, headers=reported, body=b"")


class _Open:
    """The port ``Authorizer``, with nothing to authorize."""

    async def authorize(self, method: str, url: str) -> Authorization:
        return Authorization(headers={}, token_id="1")

    def handle_challenge(
        self, url: str, used: Authorization, answer: HttpResponse
    ) -> ChallengeResult:
        return ChallengeResult()
