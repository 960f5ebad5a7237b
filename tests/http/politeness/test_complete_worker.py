"""The whole worker (roster, tokens, pages, writer, publication) before a PTS of unknown limits.

In virtual time, as all simulated nights: everything but sockets and clocks is the real program.
"""

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.politeness.scenarios import WARM_UP_S
from tests.support.politeness.world import AWAY, OK, REFUSED
from tests.support.simulation.loop import Clock
from tests.support.simulation.nth_call import in_world
from tests.support.simulation.served import Rows
from tests.support.simulation.stage import Line, Outcome, Stage
from tests.support.simulation.upstream import DictPts
from worker.sandbox.restrictions import PRIVACY, SAFETY
from worker.sandbox.web import Request, Response, problem

pytestmark = pytest.mark.promise("7")

CEILING = 100.0
"""``sync.requests_per_second``: all that the worker knows."""


@dataclass(kw_only=True)
class Bucket:
    """PTS with a limit: so many requests a second, and as many saved up.

    Attributes:
        seen: by second, how many were served (200) and how many refused (429).
    """

    rate: float
    pts: DictPts
    clock: Clock
    tokens: float = 0.0
    filled_s: float = 0.0
    seen: dict[int, Counter[int]] = field(default_factory=dict)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """As ``Pts.handle``."""
        now_s = self.clock.elapsed_s
        self.tokens = min(self.rate, self.tokens + (now_s - self.filled_s) * self.rate)
        self.filled_s = now_s
        counts = self.seen.setdefault(int(now_s), Counter())
        if self.tokens < 1:
            counts[REFUSED] += 1
            return "pts", problem(REFUSED, "Too Many Requests"), ""
        self.tokens -= 1
        area, reply, action = self.pts.handle(request)
        counts[reply.status] += 1
        return area, reply, action

    @property
    def found(self) -> Rows:
        """As ``DictPts.found``: what the last answer held."""
        return self.pts.found

    def count(self, status: int, start_s: float = 0.0, end_s: float = math.inf) -> int:
        """Answers of that status, by whole seconds."""
        return sum(
            found[status] for second, found in self.seen.items() if start_s <= second < end_s
        )


def staged(folder: Path, *, persons: int) -> tuple[Stage, Clock]:
    """A worker with so many persons on its roster."""
    clock = Clock(datetime(2026, 3, 28, 22, 17, 43, tzinfo=UTC))
    stage = Stage(folder, clock, random.Random(5), seed=7, paging="none")
    stage.look_share = 0.0
    for index in range(persons):
        off_id = stage.upstream.off_id(index)
        held = {"a": 1} if index % 10 == 0 else {}
        stage.upstream.truth[off_id] = {SAFETY: held, PRIVACY: {}}
        stage.roster.append(Line(off_id=off_id, ref=f"L{index}"))
    stage.limit(concurrency=16, batch_persons=500, requests_per_second=CEILING)
    return stage, clock


def run_before(stage: Stage, pts: "Bucket | Outage") -> Outcome:
    """One run before that PTS."""
    stage.upstream._pts = pts  # type: ignore[assignment]

    async def main() -> Outcome:
        return await stage.run(stage.process())

    outcome: Outcome = in_world(stage, main)
    stage.close()
    return outcome


def course(folder: Path, *, rate: float, persons: int) -> tuple[Outcome, Bucket]:
    """One run over so many persons before a limit."""
    stage, clock = staged(folder, persons=persons)
    bucket = Bucket(rate=rate, pts=stage.upstream._pts, clock=clock)
    return run_before(stage, bucket), bucket


@dataclass(kw_only=True)
class Outage:
    """PTS that answers everybody with 503 from some request on.

    Attributes:
        left: requests until then.
        failed: moment of each request that it answered so, with its path and body.
    """

    left: int
    pts: DictPts
    clock: Clock
    failed: list[tuple[float, tuple[str, bytes]]] = field(default_factory=list)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """As ``Pts.handle``."""
        self.left -= 1
        if self.left >= 0:
            return self.pts.handle(request)
        self.failed.append((self.clock.elapsed_s, (request.path, request.body)))
        return "pts", problem(AWAY, "Service Unavailable"), ""

    @property
    def found(self) -> Rows:
        """As ``DictPts.found``."""
        return self.pts.found


def test_an_outage_ends_a_run_that_had_read_many(tmp_path: Path):
    """With 69 after 24 requests, and what was under way when the circuit opened.

    The last four are for persons who had been read before.
    """
    stage, clock = staged(tmp_path, persons=300)
    outage = Outage(left=200, pts=stage.upstream._pts, clock=clock)
    outcome = run_before(stage, outage)
    assert outcome.code == 69
    assert 24 <= len(outage.failed) <= 28
    moments, asked = zip(*outage.failed[-5:], strict=True)
    pauses = [later - sooner for sooner, later in pairwise(moments)]
    assert [round(pause) for pause in pauses] == [1, 3, 9, 27]
    assert len(set(asked[1:])) == 3
    assert not set(asked[1:]) & {searched for _, searched in outage.failed[:-4]}


@pytest.mark.nightly
def test_it_settles_just_below_the_limit(tmp_path: Path):
    """As its senders do alone: nine tenths of what PTS sustains or more, fewer than 2 % refused."""
    rate, persons = 10, 800
    outcome, bucket = course(tmp_path, rate=rate, persons=persons)
    assert outcome.report is not None
    totals = outcome.report.totals
    assert (outcome.code, totals["persons_complete"]) == (0, persons)
    served, refused = bucket.count(OK), bucket.count(REFUSED)
    assert (served, served + refused) == (2 * persons, totals["requests"])
    assert refused / (served + refused) < 0.02
    end_s = max(bucket.seen) - 1
    accepted = bucket.count(OK, WARM_UP_S, end_s) / (end_s - WARM_UP_S)
    assert 0.9 * rate <= accepted
    assert accepted * (end_s - WARM_UP_S) <= rate * (end_s - WARM_UP_S) + rate  # a second's burst
    late = bucket.count(REFUSED, WARM_UP_S, end_s)
    assert late / (accepted * (end_s - WARM_UP_S)) < 0.02
