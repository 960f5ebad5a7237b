"""The whole worker (roster, tokens, pages, writer, publication) before a PTS of unknown limits.

In virtual time, as all simulated nights: everything but sockets and clocks is the real program.
"""

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.politeness.scenarios import WARM_UP_S
from tests.politeness.world import OK, REFUSED
from tests.simulation.loop import Clock
from tests.simulation.nth_call import in_world
from tests.simulation.stage import Line, Outcome, Stage
from tests.simulation.upstream import DictPts, Rows
from worker.sandbox.restrictions import PRIVACY, SAFETY
from worker.sandbox.web import Reply, Request, problem

CEILING = 100.0
"""``sync.requests_per_second``: all that the worker is told."""


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

    def handle(self, request: Request) -> tuple[str, Reply, str]:
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
        """As ``DictPts.found``: what the last answer told."""
        return self.pts.found

    def count(self, status: int, start_s: float = 0.0, end_s: float = math.inf) -> int:
        """Answers of that status, by whole seconds."""
        return sum(
            found[status] for second, found in self.seen.items() if start_s <= second < end_s
        )


def course(folder: Path, *, rate: float, persons: int) -> tuple[Outcome, Bucket]:
    """One run over so many persons."""
    clock = Clock(datetime(2026, 3, 28, 22, 17, 43, tzinfo=UTC))
    stage = Stage(folder, clock, random.Random(5), seed=7, paging="none")
    stage.look_share = 0.0
    for index in range(persons):
        off_id = stage.upstream.off_id(index)
        held = {"a": 1} if index % 10 == 0 else {}
        stage.upstream.truth[off_id] = {SAFETY: held, PRIVACY: {}}
        stage.roster.append(Line(off_id=off_id, ref=f"L{index}"))
    stage.limit(concurrency=16, batch_persons=500, requests_per_second=CEILING)
    bucket = Bucket(rate=rate, pts=stage.upstream._pts, clock=clock)
    stage.upstream._pts = bucket  # type: ignore[assignment]

    async def main() -> Outcome:
        return await stage.run(stage.process())

    outcome = in_world(stage, main)
    stage.close()
    return outcome, bucket


@pytest.mark.parametrize(("rate", "persons"), [(10, 800), (20, 1500)])
def test_it_settles_just_below_the_limit(tmp_path: Path, rate: int, persons: int):
    """As its senders do alone: nine tenths of what PTS sustains or more, fewer than 2 % refused."""
    outcome, bucket = course(tmp_path, rate=rate, persons=persons)
    assert outcome.report is not None
    totals = outcome.report.totals
    assert (0, persons) == (outcome.code, totals["persons_complete"])
    served, refused = bucket.count(OK), bucket.count(REFUSED)
    assert (2 * persons, served + refused) == (served, totals["requests"])
    assert refused / (served + refused) < 0.02
    end_s = max(bucket.seen) - 1
    accepted = bucket.count(OK, WARM_UP_S, end_s) / (end_s - WARM_UP_S)
    assert 0.9 * rate <= accepted
    assert accepted * (end_s - WARM_UP_S) <= rate * (end_s - WARM_UP_S) + rate  # a second's burst
    late = bucket.count(REFUSED, WARM_UP_S, end_s)
    assert late / (accepted * (end_s - WARM_UP_S)) < 0.02
